//! Each kind of damage to what a node records: nothing is changed by it, `lap status` names the file and what puts it right, and that does.

use serde_json::Value;

use super::{
    lab::Lab,
    promote::{change_two, prod, says},
};

const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "0s"];
const STATE: &str = "/var/lib/lap/pool/state";
const CURRENT: &str = "/var/lib/lap/pool/state/current.json";

/// The ledger, the releases, and what runs.
fn kept(lab: &Lab) -> String {
    prod(
        lab,
        &format!("cd {STATE} && sha256sum ledger.jsonl releases/*.json && docker ps --format '{{{{.ID}}}}' | sort"),
    )
}

fn current(lab: &Lab) -> Value {
    serde_json::from_str(&prod(lab, &format!("cat {CURRENT}"))).unwrap()
}

/// `lap status prod` is unhealthy, and says both.
#[track_caller]
fn told(lab: &Lab, file: &str, remedy: &str) {
    let said = lab.lap(&["status", "prod"]).fails(7);
    assert!(said.contains(file) && said.contains(remedy), "{said}");
}

#[test]
fn nothing_is_changed_while_it_is_not_known_what_runs() {
    let lab = Lab::two_environments("unreadable");
    lab.lap(&["up", "--all"]).ok();
    change_two(&lab, "second", "true");
    lab.lap(&PROMOTE).ok();
    // Something to promote, and something that `lap up prod` must not take.
    change_two(&lab, "third", "true");
    lab.lap(&["snapshot", "prod"]).ok();
    let (good, before) = (current(&lab), kept(&lab));
    assert_eq!(good["release"], 2);
    for (damage, why) in [
        (format!("head -c 200 {CURRENT} >{CURRENT}.x && mv {CURRENT}.x {CURRENT}"), "it is truncated"),
        (format!("sed -i 's/\"release\": 2/\"release\": \"5\"/' {CURRENT}"), "expected u64"),
        (format!("rm {CURRENT}"), "the file is missing, although release 2 ran"),
        (format!("rm {CURRENT} && mkdir {CURRENT}"), "it is not a file"),
        (format!("mv {CURRENT} {CURRENT}.x && ln -s {CURRENT}.x {CURRENT}"), "symbolic link"),
    ] {
        prod(&lab, &damage);
        for command in [
            &["up", "prod"][..],
            &["start", "prod"],
            &PROMOTE,
            &["rollback", "1", "--yes", "--settle", "0s"],
            &["restore", "--yes", "latest", "prod"],
            &["prune", "prod", "--yes", "--grace", "0s"],
        ] {
            let said = lab.lap(command).fails(10);
            assert!(said.contains(CURRENT) && said.contains(why), "{damage}: {command:?}: {said}");
            assert!(said.contains("lap release record --env prod"), "{damage}: {command:?}: {said}");
        }
        told(&lab, why, "lap release record --env prod");
        assert!(lab.lap(&["status", "prod", "--json"]).fails(7).contains(CURRENT));
        assert_eq!(kept(&lab), before, "{damage}");
        assert_eq!(says(&lab, "two"), "two, second");
        // A snapshot is taken all the same, and does not say that nothing ran.
        assert!(lab.lap(&["snapshot", "prod"]).ok().contains("lap ran no hooks"), "{damage}");
        assert!(lab.lap(&["snapshot", "list", "prod"]).ok().contains("not known"), "{damage}");
        let said = lab.lap(&["release", "record", "1", "--env", "prod"]).fails(10);
        assert!(said.contains("according to the ledger, release 2 runs, not 1"), "{said}");
        assert!(lab.lap(&["release", "record", "--env", "prod"]).ok().contains("release 2"));
        assert_eq!((current(&lab), kept(&lab)), (good.clone(), before.clone()), "{damage}");
        lab.lap(&["status", "prod"]).ok();
        assert!(lab.lap(&["release", "record"]).ok().contains("Nothing to do"));
    }
    a_release_and_the_ledger(&lab);
    test_comes_back_from_the_tree(&lab);
    // All is as it was: the next release is the third.
    lab.lap(&PROMOTE).ok();
    assert_eq!((current(&lab)["release"].clone(), says(&lab, "two")), (3.into(), "two, third".to_owned()));
}

fn a_release_and_the_ledger(lab: &Lab) {
    let file = format!("{STATE}/releases/1.json");
    prod(lab, &format!("head -c 99 {file} >{file}.x && mv {file}.x {file}"));
    told(lab, &file, "lap release record 1");
    assert!(lab.lap(&["release", "list", "prod"]).ok().contains("cannot be read"));
    assert!(lab.lap(&["rollback", "1", "--yes"]).fails(10).contains(&file));
    // The snapshot that the promotion took knows it.
    assert!(lab.lap(&["release", "record", "1", "--env", "prod"]).ok().contains(&file));
    lab.lap(&["status", "prod"]).ok();

    let ledger = format!("{STATE}/ledger.jsonl");
    prod(
        lab,
        &format!("cp {ledger} /root/ledger && sed -i 's/\"release\":2/\"release\":3/' {ledger} && echo x >>{ledger}"),
    );
    told(lab, &ledger, "compare the ledger with the one in a copy");
    for command in [&PROMOTE[..], &["rollback", "1", "--yes"], &["prune", "prod", "--yes"]] {
        assert!(lab.lap(command).fails(10).contains(&ledger), "{command:?}");
    }
    prod(lab, &format!("cp /root/ledger {ledger}"));
    lab.lap(&["release", "ledger", "verify"]).ok();

    let id = prod(lab, "ls /var/lib/lap/pool/snapshots | sort | tail -n 1");
    let meta = format!("/var/lib/lap/pool/snapshots/{id}/meta.json");
    prod(lab, &format!("sed -i 's/\"reason\"/\"raison\"/' {meta}"));
    told(lab, &meta, &format!("lap snapshot rm {id}"));
    assert!(lab.lap(&["snapshot", "list", "prod"]).ok().contains("damaged"));
    assert!(
        lab.lap(&["restore", "--yes", "latest", "prod"]).fails(10).contains(&meta),
        "an older one is not the latest"
    );
    let plan = lab.lap(&["prune", "prod", "--dry-run", "--grace", "0s"]).ok();
    assert!(!plan.contains("no kept item needs it"), "{plan}");
    lab.lap(&["snapshot", "rm", "--yes", &id, "--env", "prod"]).ok();
    lab.lap(&["status", "prod"]).ok();

    let policy = "/var/lib/lap/policy/snapshot.json";
    prod(lab, &format!("mkdir -p /var/lib/lap/policy && echo '{{' >{policy}"));
    told(lab, policy, "lap up");
    assert!(lab.lap(&["snapshot", "prune", "--yes", "prod"]).fails(10).contains(policy));
    lab.lap(&["up", "prod"]).ok();
    lab.lap(&["status", "prod"]).ok();
}

/// What test runs comes from the tree, and so does its record.
fn test_comes_back_from_the_tree(lab: &Lab) {
    lab.on_node("test", &["sh", "-c", &format!("echo '{{' >{CURRENT}")]).ok();
    assert!(lab.lap(&PROMOTE).fails(10).contains(CURRENT));
    assert!(lab.lap(&["start"]).fails(10).contains("lap up test"));
    let said = lab.lap(&["status"]).fails(7);
    assert!(said.contains(CURRENT) && said.contains("lap up test"), "{said}");
    let said = lab.lap(&["up"]).ok();
    assert!(said.contains("writing it again"), "{said}");
    lab.lap(&["status"]).ok();
}
