//! A promotion on a node whose disk fills up, or that cannot be reached any more, at each step: the old release or the new one, whole, and
//! the next one goes through.

use super::{
    lab::{Lab, until},
    promote::{change_two, data, prod, says, steps, until_healthy},
    working::Working,
};

/// Begins a promotion, and comes back when the agent waits before this step.
fn begin(lab: &Lab, step: &str) -> Working {
    lab.on_node("prod", &["sh", "-c", &format!("echo 'pause {step}' >/run/lap/die-at")]).ok();
    let mut promoting = lab.start(&["promote", "--yes", "--wait", "--settle", "0s"]);
    promoting.until_reached(lab, "prod", step);
    promoting
}

fn go_on(lab: &Lab) {
    prod(lab, "rm /run/lap/reached");
}

/// Which of the two it is, or it fails.
fn whole(lab: &Lab, step: &str, old: &str) -> bool {
    let current: serde_json::Value =
        serde_json::from_str(&prod(lab, "cat /var/lib/lap/pool/state/current.json")).unwrap();
    let is_new = says(lab, "two").starts_with("two, new");
    assert_eq!(prod(lab, "cat /data/two/file") == "new", is_new, "{step}: images and data of one release");
    assert_eq!(current["release"] == 1, !is_new, "{step}: what is recorded runs");
    assert!(is_new || data(lab) == old, "{step}: the data is what it was");
    is_new
}

/// Goes back to release 1 if need be, so that the next step begins where this one did.
fn back(lab: &Lab, old: &str) {
    if says(lab, "two").starts_with("two, new") {
        lab.lap(&["rollback", "1", "--yes", "--wait", "--settle", "0s"]).ok();
    }
    assert_eq!((says(lab, "two").as_str(), data(lab).as_str()), ("two", old));
}

#[test]
fn the_disk_is_full_at_each_step() {
    let lab = Lab::two_environments("promote-full");
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && sync");
    let old = data(&lab);
    change_two(&lab, "new", "echo new >/data/file");
    // As an undisturbed one tells them, so that a new step is among them.
    lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    let steps = steps(&lab);
    assert!(steps.first().is_some_and(|step| step == "record the planned steps"), "{steps:?}");
    assert!(steps.len() > 8 && steps.last().is_some_and(|step| step == "close"), "{steps:?}");
    back(&lab, &old);
    for step in &steps {
        let promoting = begin(&lab, step);
        // Reserved in one go, then byte by byte what is left.
        prod(
            &lab,
            "mkdir /var/lib/lap/pool/.fill; for size in 256M 64M 16M 4M 1M 64K 4K; do i=0; \
             while fallocate -l $size /var/lib/lap/pool/.fill/$size.$i 2>/dev/null; do i=$((i+1)); done; done; sync",
        );
        go_on(&lab);
        let ended = promoting.end();
        // Nothing begins by itself: what waits for its end after the question did so before it.
        let status = lab.lap(&["status", "prod"]);
        let waits = lab.on_node("prod", &["test", "-e", "/var/lib/lap/pool/state/switch.json"]).code == 0;
        assert!(
            !waits || status.err.contains("the agent completes an interrupted operation"),
            "full at {step}: {status:?}"
        );
        prod(&lab, "rm -r /var/lib/lap/pool/.fill; sync");
        // What was stuck for lack of room goes on by itself.
        until_healthy(&lab);
        let waits = "cd /var/lib/lap/pool/state && ls | grep -E '^(switch|restore.*|hooks)[.]json$' || true";
        assert_eq!(prod(&lab, waits), "", "full at {step}: `lap status` does not report this");
        let is_new = whole(&lab, step, &old);
        assert!(is_new || ended.code != 0, "full at {step}: it said it was done, and is not: {ended:?}");
        lab.lap(&["release", "ledger", "verify"]).ok();
        back(&lab, &old);
    }
}

#[test]
fn the_node_cannot_be_reached_at_each_step() {
    let lab = Lab::two_environments("promote-cut");
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && sync");
    let old = data(&lab);
    change_two(&lab, "new", "echo new >/data/file");
    let cut = |how: &str| {
        prod(&lab, &format!("iptables {how} INPUT -i eth0 -j DROP; iptables {how} OUTPUT -o eth0 -j DROP"));
    };
    for step in ["stop the containers that change", "start `two`", "make it the release", "close"] {
        let promoting = begin(&lab, step);
        cut("-I");
        go_on(&lab);
        // The laptop is closed, and nobody comes back to it: the agent ends it by itself.
        promoting.kill();
        let over = "test ! -e /var/lib/lap/pool/state/switch.json && echo over || true";
        until(&format!("cut off at {step}, it ends"), || prod(&lab, over) == "over");
        cut("-D");
        until_healthy(&lab);
        assert!(whole(&lab, step, &old), "cut off at {step}: there was no reason to take it back");
        back(&lab, &old);
    }
}

/// What lies on test can change nothing in production: no key there opens anything of prod's.
#[test]
fn test_has_nothing_that_opens_production() {
    let lab = Lab::two_environments("promote-keys");
    lab.lap(&["up", "--all"]).ok();
    let found = lab
        .on_node(
            "test",
            &["sh", "-c", "grep -rlE 'BEGIN [A-Z ]*PRIVATE KEY' /var/lib/lap /root /data /run/lap 2>/dev/null | sort"],
        )
        .out;
    let found: Vec<&str> = found.lines().filter(|path| !path.contains("/pool/data/")).collect();
    assert_eq!(found, ["/var/lib/lap/secrets/one/tls.key", "/var/lib/lap/ssh/host_ed25519_key"]);
    // Neither is its host key one that prod lets in, nor does its TLS key vouch for anybody.
    let allowed = prod(&lab, "cat /var/lib/lap/ssh/authorized_keys");
    let host = lab.on_node("test", &["cat", "/var/lib/lap/ssh/host_ed25519_key.pub"]).out;
    let key = host.split_whitespace().nth(1).unwrap_or("none").to_owned();
    assert!(!allowed.contains(&key), "{allowed}");
    let address = lab.address("prod");
    let refused = lab.on_node(
        "test",
        &[
            "ssh",
            "-F",
            "none",
            "-i",
            "/var/lib/lap/ssh/host_ed25519_key",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            &format!("root@{address}"),
            "true",
        ],
    );
    assert!(refused.code != 0 && refused.err.contains("Permission denied"), "{refused:?}");
}
