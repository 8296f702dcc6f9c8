//! From test to production and back, on two real nodes: what changes, what does not, and what a failure or a kill in the middle leaves.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    lab::{Lab, until_or},
    working,
};

/// A shell on prod.
pub fn prod(lab: &Lab, script: &str) -> String {
    lab.on_node("prod", &["sh", "-c", script]).ok().trim().to_owned()
}

pub fn says(lab: &Lab, container: &str) -> String {
    prod(lab, &format!("docker exec infra_{container} cat /say"))
}

pub(super) fn started(lab: &Lab, container: &str) -> String {
    prod(lab, &format!("docker inspect --format '{{{{.State.StartedAt}}}} {{{{.Id}}}}' infra_{container}"))
}

/// Every file of all data, by content.
pub(super) fn data(lab: &Lab) -> String {
    prod(lab, "cd /data && find . -type f | sort | xargs -r sha256sum")
}

/// `two` from now on says this, and does that when it starts; on test it is always well.
pub fn change_two(lab: &Lab, text: &str, at_start: &str) {
    let command = format!("trap exit TERM; {at_start}; sleep infinity & wait");
    lab.write(
        "containers/two/Dockerfile",
        &format!("FROM infra/one\nRUN echo two, {text} > /say\nCMD [\"/bin/sh\", \"-c\", \"{command}\"]\n"),
    );
    lab.commit();
    lab.lap(&["up"]).ok();
}

/// What is only to happen in production.
pub(super) fn in_prod(what: &str) -> String {
    format!("test $LAP_ENVIRONMENT = test || {{ {what}; }}")
}

/// The steps of the last operation on prod, as its journal has them; what a step names of the moment (a time, a check) is not one of its own.
pub fn steps(lab: &Lab) -> Vec<String> {
    let journal = prod(lab, "cat /var/lib/lap/pool/state/journal.jsonl");
    let lines: Vec<serde_json::Value> = journal.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = lines.last().map(|line| line["op"].clone()).unwrap_or_default();
    let of_it = lines.iter().filter(|line| line["op"] == last);
    of_it.filter_map(find_step).collect()
}

/// Wherever in the line it is.
fn find_step(line: &serde_json::Value) -> Option<String> {
    let fields = line.as_object()?;
    let step = fields.get("step").and_then(serde_json::Value::as_str).map(str::to_owned);
    step.or_else(|| fields.values().find_map(find_step))
}

pub fn until_healthy(lab: &Lab) {
    until_or(|| lab.lap(&["status", "prod"]).code == 0, || format!("{:?}", lab.lap(&["status", "prod"])));
}

const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "1s"];

#[test]
fn there_and_back() {
    let lab = Lab::two_environments("promote");
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&PROMOTE).fails(5).contains("the node `prod` is not made yet"));
    lab.lap(&["up", "prod"]).ok();
    assert!(lab.lap(&PROMOTE).ok().contains("Nothing to promote: `prod` runs release 1"));

    // Only what is a commit, and runs, can be promoted; nothing is done without a yes.
    lab.write("containers/two/Dockerfile", "FROM infra/one\nRUN echo two, dirty > /say\n");
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&PROMOTE).fails(10).contains("and not a commit"));
    lab.edit("containers/two/container.toml", "depends_on", "names = [\"second.internal\"]\ndepends_on");
    change_two(&lab, "second", "echo new >/data/file");
    let named = || prod(&lab, "cat /var/lib/lap/names/names.json").contains("\"second.internal.\"");
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && echo mine >/data/one/file");
    assert!(lab.lap(&["promote"]).fails(2).contains("answer the question with `--yes`"));
    let plan = lab.lap(&["promote", "--dry-run"]).ok();
    assert!(
        plan.contains("replace `two`")
            && plan.contains("its image and its settings changed")
            && plan.contains("Not touched: `one`"),
        "{plan}"
    );
    assert_eq!(says(&lab, "two"), "two");
    lab.on_node("test", &["docker", "stop", "--time", "1", "infra_two"]).ok();
    assert!(lab.lap(&PROMOTE).fails(10).contains("`test` is not healthy: `two`"));
    lab.lap(&["up"]).ok();

    let before = started(&lab, "one");
    let said = lab.lap(&PROMOTE).ok();
    assert!(said.contains("`prod` runs release 2 (") && said.contains("Ledger: "), "{said}");
    assert_eq!(says(&lab, "two"), "two, second");
    assert!(named(), "its names came with it");
    assert_eq!(started(&lab, "one"), before, "what does not change is not touched");
    assert_eq!(prod(&lab, "cat /data/two/file"), "new");
    until_healthy(&lab);
    assert_eq!(prod(&lab, "docker ps --all --format '{{.Names}}' | sort | xargs"), "infra_one infra_two");
    assert!(lab.lap(&["up", "prod"]).ok().contains("Nothing to do"));
    let hash = said.lines().find_map(|line| line.strip_prefix("Ledger: ")).unwrap();
    lab.lap(&["release", "ledger", "verify", hash]).ok();
    let list = lab.lap(&["release", "list"]).ok();
    assert!(list.lines().count() == 3 && list.lines().last().unwrap().ends_with("runs"), "{list}");
    let differs = lab.lap(&["release", "diff", "1", "2"]).ok();
    assert!(differs.lines().any(|line| line.starts_with("two") && line.contains("image")), "{differs}");

    // Back: images and data.
    assert!(lab.lap(&["rollback", "7", "--yes"]).fails(2).contains("`prod` has no release 7"));
    let said = lab.lap(&["rollback", "--yes", "--settle", "1s"]).ok();
    assert!(said.contains("`prod` runs release 1 ("), "{said}");
    assert_eq!((says(&lab, "two").as_str(), prod(&lab, "cat /data/two/file").as_str()), ("two", "old"));
    assert_eq!(started(&lab, "one"), before);
    assert!(!named(), "its names went with it");
    until_healthy(&lab);
    assert!(lab.lap(&["up", "prod"]).ok().contains("Nothing to do"), "all of it is the release's, names too");
    // And forward again, with the data that was there.
    lab.lap(&["rollback", "2", "--yes", "--settle", "1s", "--keep-data"]).ok();
    assert_eq!(says(&lab, "two"), "two, second");
    let ledger = lab.lap(&["release", "ledger"]).ok();
    assert_eq!(ledger.matches("done").count(), 3, "{ledger}");
}

/// Whatever goes wrong with the new release: exit code, data, images and names are those of the old one, and what it did is kept.
#[test]
fn taken_back() {
    let lab = Lab::two_environments("promote-back");
    // Healthy on test, and in production only where the file says so.
    lab.edit("containers/two/container.toml", "grep -q two /say", "test ! -e /data/broken");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && echo mine >/data/one/file");
    let (old, one) = (data(&lab), started(&lab, "one"));
    let unchanged = |why: &str, error: &str| {
        assert!(error.contains("was taken back") && error.contains(why), "{error}");
        assert_eq!(says(&lab, "two"), "two", "{why}");
        assert_eq!(data(&lab), old, "{why}");
        assert_eq!(started(&lab, "one"), one, "{why}");
        until_healthy(&lab);
        let left = prod(&lab, "ls /var/lib/lap /var/lib/lap/pool/state; docker ps --all --format '{{.Names}}'");
        assert!(
            !left.contains("staged") && !left.contains("switch.json") && !left.contains("lap_kept"),
            "{why}: {left}"
        );
        lab.lap(&["release", "ledger", "verify"]).ok();
    };

    // A migration that spoils the data and then fails.
    change_two(&lab, "spoils", &in_prod("echo spoiled >/data/file; touch /data/broken"));
    let error = lab.lap(&PROMOTE).fails(7);
    unchanged("`two` is not healthy", &error);
    let id = error.split("hint: snapshot ").nth(1).unwrap().split(" has its data").next().unwrap().to_owned();
    assert_eq!(prod(&lab, &format!("cat /var/lib/lap/pool/snapshots/{id}/data/two/file")), "spoiled");

    // One that is healthy, and does not do what it should.
    let check = lab.root.join("containers/two/checks/whole");
    lab.write("containers/two/checks/whole", "#!/bin/sh\ntest ! -e /data/spoiled || { echo it is spoiled; exit 1; }\n");
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755)).unwrap();
    change_two(&lab, "is checked", &in_prod("touch /data/spoiled"));
    unchanged("the check `two/whole` failed: it is spoiled", &lab.lap(&PROMOTE).fails(7));

    // One that is healthy and dies later.
    change_two(&lab, "dies", &in_prod("while test ! -e /data/die; do sleep 0.1; done; exit 1"));
    let mut promoting = lab.start(&["promote", "--yes", "--settle", "599s"]);
    let settles = "grep -q 'watch the release for 599 s' /var/lib/lap/pool/state/journal.jsonl";
    promoting.until("it settles", || lab.on_node("prod", &["sh", "-c", settles]).code == 0);
    prod(&lab, "touch /data/two/die");
    unchanged("`two` failed", &promoting.end().fails(7));

    // One that cannot even start.
    change_two(&lab, "ends", &in_prod("exit 3"));
    unchanged("`two`", &lab.lap(&PROMOTE).fails(7));

    // Somebody changes their mind.
    change_two(&lab, "is aborted", "echo new >/data/file");
    let mut promoting = lab.start(&["promote", "--yes", "--settle", "1h"]);
    promoting.until("it runs", || prod(&lab, "docker exec infra_two cat /say || true") == "two, is aborted");
    // Two at once: the second is told who is at it.
    assert!(lab.lap(&PROMOTE).fails(8).contains("holds it for `lap promote`"));
    // The operator's machine is gone; the agent goes on, and somebody else looks.
    promoting.kill();
    let said = lab.lap(&["promote", "--abort"]).ok();
    assert!(said.contains("was taken back"), "{said}");
    assert_eq!((says(&lab, "two").as_str(), data(&lab)), ("two", old.clone()));
    assert!(lab.lap(&["promote", "--abort"]).fails(10).contains("no promotion and no rollback is in progress"));

    // And a good one goes through, while its operator is away.
    change_two(&lab, "good", "echo new >/data/file");
    let mut promoting = lab.start(&["promote", "--yes", "--settle", "5s"]);
    promoting.until("it runs", || prod(&lab, "docker exec infra_two cat /say || true") == "two, good");
    promoting.kill();
    let said = lab.lap(&["promote", "--resume"]).ok();
    assert!(said.contains("`prod` runs release"), "{said}");
    assert_eq!(says(&lab, "two"), "two, good");
    until_healthy(&lab);
}

/// The steps of a promotion in a lab without git, as docs/promotion.md has them.
pub const EACH_STEP: [&str; 14] = [
    "record the planned steps",
    "stop the containers that change",
    "take a snapshot of the data",
    "set names and secrets",
    "start `two`",
    "wait until `two` is healthy",
    "check that all containers are healthy",
    "run the checks",
    "watch the release for 0 s",
    "ask the client to confirm the release",
    "make it the release",
    "record what runs",
    "remove the old containers",
    "close",
];

/// The agent is killed before each step, after that the node itself: the old release or the new one, whole, and the next one goes
/// through.
#[test]
fn killed_at_each_step() {
    let lab = Lab::two_environments("promote-kill");
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && sync");
    let old = data(&lab);
    change_two(&lab, "new", "echo new >/data/file");
    // The steps are those that an undisturbed one tells: a new one is killed, too.
    lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    let forward = steps(&lab);
    lab.lap(&["rollback", "--yes", "--settle", "0s"]).ok();
    for named in EACH_STEP {
        assert!(forward.iter().any(|step| step == named), "docs/promotion.md names `{named}`: {forward:?}");
    }
    assert_eq!(forward.len(), EACH_STEP.len(), "docs/promotion.md names each step: {forward:?}");
    let committed = 1 + forward.iter().position(|step| step == "make it the release").unwrap();
    let releases = || lab.lap(&["release", "list"]).ok().lines().count();
    for node in [false, true] {
        for (at, step) in forward.iter().enumerate() {
            let before = releases();
            kill_at(&lab, node, step);
            if at < committed {
                assert_eq!((says(&lab, "two").as_str(), data(&lab)), ("two", old.clone()), "killed at {step}");
                assert_eq!(releases(), before, "killed at {step}");
            } else {
                assert_eq!(says(&lab, "two"), "two, new", "killed at {step}");
                assert_eq!(prod(&lab, "cat /data/two/file"), "new", "killed at {step}");
                assert_eq!(releases(), before + 1, "killed at {step}");
                lab.lap(&["rollback", "1", "--yes", "--settle", "0s"]).ok();
                assert_eq!((says(&lab, "two").as_str(), data(&lab)), ("two", old.clone()), "back after {step}");
            }
            lab.lap(&["release", "ledger", "verify"]).ok();
            let left = prod(
                &lab,
                "ls -A /var/lib/lap /var/lib/lap/pool /var/lib/lap/pool/state; docker ps --all --format '{{.Names}}'",
            );
            for word in ["staged", "switch.json", "lap_kept", "lap-new", "restore"] {
                assert!(!left.contains(word), "killed at {step}: {left}");
            }
        }
    }
    lab.lap(&PROMOTE).ok();
    assert_eq!(says(&lab, "two"), "two, new");
    until_healthy(&lab);
}

/// The way back is killed at each of its steps, too.
#[test]
fn killed_on_the_way_back() {
    let lab = Lab::two_environments("promote-kill-back");
    lab.edit("containers/two/container.toml", "grep -q two /say", "test ! -e /data/broken");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/one /data/two && echo old >/data/two/file && sync");
    let old = data(&lab);
    change_two(&lab, "ends", &in_prod("echo spoiled >/data/file; exit 3"));
    let back = [
        "take back: remove the new containers",
        "take back: restore the data",
        // Inside of it, the part restore's own.
        "prepare the data",
        "switch",
        "keep the replaced data",
        "take back: restore names and secrets",
        "take back: start the old containers",
        "take back: close",
    ];
    for node in [false, true] {
        for step in back {
            kill_at(&lab, node, step);
            assert_eq!((says(&lab, "two").as_str(), data(&lab)), ("two", old.clone()), "killed at {step}");
            let kept = prod(&lab, "cat /var/lib/lap/pool/snapshots/*/data/two/file | grep -c spoiled");
            assert_eq!(kept, "1", "killed at {step}: what the failed release left is kept once");
            lab.lap(&["release", "ledger", "verify"]).ok();
            prod(
                &lab,
                "btrfs subvolume delete /var/lib/lap/pool/snapshots/*/data >/dev/null && rm -r /var/lib/lap/pool/snapshots/*",
            );
        }
    }
}

/// Begins a promotion that dies before `step`, and waits until all is well again: by itself, nobody runs another command.
pub fn kill_at(lab: &Lab, node: bool, step: &str) {
    let at = if node { format!("node {step}") } else { step.to_owned() };
    let ended = working::killed_at(lab, "prod", &at, &["promote", "--yes", "--wait", "--settle", "0s"]);
    // Once the release is made, the agent finishes the promotion, and a client that watches again may see the end of it.
    let is_made = EACH_STEP.iter().skip_while(|each| **each != "make it the release").skip(1).any(|each| *each == step);
    assert!(is_made || ended.code != 0, "killed at {at}, and it says it is done: {ended:?}");
    until_healthy(lab);
}
