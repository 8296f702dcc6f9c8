//! Docker is killed while it starts a container. What it leaves in containerd does not keep the container down: the agent starts it again.

use super::{
    lab::{Lab, run, until_or},
    promote::prod,
    working::Working,
};

/// A runc that waits at one moment of the next start of a container, until the test removes `/held`.
const RUNC: &str = "#!/bin/sh
at=
for word in \"$@\"; do
    case $word in create | start) at=$word; break ;; esac
done
# Once, the clean-up after a shim that ended takes longer than containerd waits for it.
if tr '\\0' ' ' <\"/proc/$PPID/cmdline\" | grep -q ' delete' && mv /slow /slowed 2>/dev/null; then
    sleep 7
    # containerd has ended the clean-up. A later deletion would hit the next container with this id.
    [ -d \"/proc/$PPID\" ] || exit 1
fi
hold() {
    mv \"/hold-$1\" /held 2>/dev/null || return 0
    while [ -e /held ]; do sleep 0.05; done
}
hold \"before-$at\"
/usr/sbin/runc \"$@\"
code=$?
hold \"after-$at\"
exit $code
";

const MOMENTS: [&str; 4] = ["before-create", "after-create", "before-start", "after-start"];

#[test]
fn a_docker_that_is_killed_while_it_starts_a_container() {
    let lab = Lab::two_environments("tasks");
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "test -x /usr/sbin/runc");
    prod(&lab, &format!("cat >/usr/local/sbin/runc <<'end'\n{RUNC}end\nchmod +x /usr/local/sbin/runc"));
    lab.lap(&["snapshot", "prod"]).ok();
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "prod", "--json"]).ok()).unwrap();
    let id = list.as_array().unwrap().last().unwrap()["meta"]["id"].as_str().unwrap().to_owned();
    for (moment, slow) in MOMENTS.map(|moment| (moment, false)).into_iter().chain([("after-create", true)]) {
        let restoring = restore_until(&lab, &id, moment);
        // runc goes on at once, or only when the next Docker is there.
        let next = "until docker version >/dev/null 2>&1; do sleep 0.1; done";
        if slow {
            prod(&lab, "touch /slow");
        }
        let wait = if moment == "after-create" { next } else { ":" };
        prod(&lab, &format!("pkill -9 -x dockerd && {{ {wait}; rm /held; }}"));
        until_or(
            || lab.lap(&["status", "prod"]).code == 0,
            || {
                let log = run("docker", &["logs", "--tail", "30", &lab.node("prod")]);
                format!("killed {moment}: {:?}\n{}", lab.lap(&["status", "prod"]), log.err)
            },
        );
        let restored = restoring.end();
        assert_eq!(slow, lab.on_node("prod", &["rm", "/slowed"]).code == 0, "killed {moment}");
        assert_eq!(restored.code, 5, "killed {moment}: Docker was to be killed during the restore: {restored:?}");
    }
}

/// Begins a restore, and returns when a container is at this moment of its start.
fn restore_until(lab: &Lab, id: &str, moment: &str) -> Working {
    prod(lab, &format!("touch /hold-{moment}"));
    let mut restoring = lab.start(&["restore", "--yes", id, "prod"]);
    restoring.until(moment, || lab.on_node("prod", &["test", "-e", "/held"]).code == 0);
    restoring
}
