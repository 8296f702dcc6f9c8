//! Checks on a real node: what they see, what they may not, and that one that fails, hangs or loses its agent is told.

use std::os::unix::fs::PermissionsExt;

use super::lab::{Lab, run, until};

/// A check of the container `one`.
fn script(lab: &Lab, name: &str, text: &str) {
    let path = format!("containers/one/checks/{name}");
    lab.write(&path, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(lab.root.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn ask_the_running_container_and_change_nothing() {
    let lab = Lab::tiny("check");
    lab.lap(&["up"]).ok();
    let none = lab.lap(&["check"]).ok();
    assert!(none.contains("There are no checks"), "{none}");

    let started = || lab.on_node("test", &["docker", "inspect", "--format", "{{.State.StartedAt}}", "infra_one"]).ok();
    let first = started();
    lab.on_node(
        "test",
        &["sh", "-c", "echo secret >/data/one/file && chown 12345 /data/one/file && chmod 600 /data/one/file"],
    )
    .ok();
    // Its data although another user's, its environment and image; the network of the running one.
    script(
        &lab,
        "a-sees",
        "set -e\ngrep -q secret /data/file\ngrep -q small /env/env.toml\ngrep -q one /say\ntest -s /etc/ssl/certs/ca-certificates.crt\n\
         test \"$LAP_ENVIRONMENT $LAP_ZONE\" = 'test internal'\ntest \"$(cat /proc/net/dev | wc -l)\" -gt 3\n\
         . /checks/helper\nsleep 1",
    );
    lab.write("containers/one/checks/helper", "helped=yes\n");
    script(
        &lab,
        "b-may-not",
        "for place in /data /env /checks /usr; do\nif touch $place/x 2>/dev/null; then echo wrote $place; exit 1; fi\ndone\n\
         touch /tmp/x || exit 1\ntest ! -e /run/secrets || exit 1\ngrep CapEff: /proc/self/status | grep -q 0000000000000004",
    );
    lab.commit();
    lab.lap(&["up"]).ok();
    assert_eq!(started(), first, "checks are no reason to start it anew");
    let said = lab.lap(&["check"]).ok();
    assert!(
        said.contains("one        a-sees     ok") && said.contains("b-may-not  ok") && !said.contains("helper"),
        "{said}"
    );
    let json: serde_json::Value = serde_json::from_str(&lab.lap(&["check", "test", "two", "--json"]).ok()).unwrap();
    assert_eq!(json, serde_json::json!([]));
    assert!(lab.lap(&["check", "three"]).fails(2).contains("neither an environment nor a container"));

    // What fails is told with its last words, what hangs is ended.
    script(&lab, "c-fails", "echo the reason; exit 3");
    script(&lab, "d-hangs", "echo waiting; sleep 1000");
    lab.write(
        "containers/one/container.toml",
        &format!(
            "{}[checks]\nimage = \"two\"\ntimeout = \"15s\"\n",
            std::fs::read_to_string(lab.root.join("containers/one/container.toml")).unwrap()
        ),
    );
    script(&lab, "a-sees", "grep -q two /say");
    lab.lap(&["up"]).ok();
    assert_eq!(started(), first);
    let failed = lab.lap(&["check", "one"]);
    assert_eq!(failed.code, 7, "{failed:?}");
    for part in [
        "a-sees     ok",
        "c-fails    FAILED",
        "| the reason\n  | it ended with exit code 3",
        "exceeded its time limit of 15 s",
    ] {
        assert!(failed.out.contains(part), "{part}: {}", failed.out);
    }
    assert!(failed.err.contains("2 of 4 checks failed: `c-fails` of `one`, `d-hangs` of `one`"), "{}", failed.err);

    // The agent dies in the middle: its next life ends what it was checking.
    script(&lab, "d-hangs", "sleep 1000");
    lab.edit("containers/one/container.toml", "15s", "900s");
    lab.lap(&["up"]).ok();
    let left =
        || lab.on_node("test", &["docker", "ps", "--all", "--quiet", "--filter", "label=lap.check=one/d-hangs"]).ok();
    assert_eq!(left(), "", "nothing stays");
    let mut checking = lab.start(&["check"]);
    checking.until("the check runs", || !left().is_empty());
    lab.on_node("test", &["pkill", "-9", "-f", "lap agent run"]).ok();
    assert_ne!(checking.end().code, 0);
    until("it is left", || left().is_empty());

    // A container that is down fails its checks.
    run("docker", &["exec", &lab.node("test"), "docker", "stop", "infra_one"]).ok();
    let down = lab.lap(&["check", "one"]);
    assert!(down.code == 7 && down.out.contains("| `one` does not run"), "{down:?}");
}
