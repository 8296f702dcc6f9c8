//! Production's data in test: only what differs travels, each container's program has scrubbed it, and a kill leaves test as it was
//! or as it should be.

use super::{
    lab::{Lab, RESTORING, ROOTFS, until_or},
    working::kill_at,
};

const ONE: &str = "names = [\"one.internal\"]\n\
     healthcheck = { test = [\"CMD\", \"/bin/test\", \"-e\", \"/say\"] }\n";

/// `test` and `prod`, with data in both.
fn lab(name: &str, scrub: &str) -> Lab {
    let lab = Lab::tiny(name);
    lab.write("env/prod/env.toml", "promote_from = \"test\"\n");
    let node = "environment = \"prod\"\nrole = \"master\"\naddress = \".20\"\ndisk = \"1g\"\n";
    lab.write("nodes/prod/node.toml", node);
    set_scrub(&lab, scrub);
    lab.commit();
    lab
}

fn set_scrub(lab: &Lab, scrub: &str) {
    lab.write("containers/one/container.toml", &format!("{ONE}{ROOTFS}[snapshot]\ntimeout = \"20s\"\n{scrub}\n"));
}

fn on(lab: &Lab, node: &str, script: &str) -> String {
    lab.on_node(node, &["sh", "-c", script]).ok()
}

/// Read in the container, hence through the mount it was started with.
fn seen(lab: &Lab, file: &str) -> String {
    lab.on_node("test", &["docker", "exec", "infra_one", "cat", &format!("/data/{file}")]).out.trim().to_owned()
}

fn until_healthy(lab: &Lab) {
    until_or(|| lab.lap(&["status", "test"]).code == 0, || lab.lap(&["status", "test"]).out);
}

/// What lies in test's pool and should not.
fn left_over(lab: &Lab) -> String {
    on(
        lab,
        "test",
        "cd /var/lib/lap/pool; ls -d data.lap-new snapshots/.new-* received/.new state/restore* state/scrub 2>/dev/null; \
         docker ps --all --quiet --filter label=lap.scrub",
    )
}

/// Megabytes in what `lap` said about what travelled.
fn travelled(said: &str) -> f64 {
    let size = said.split("`; ").nth(1).and_then(|rest| rest.split(" travelled").next()).expect(said);
    let (number, unit) = size.split_once(' ').unwrap();
    let factor = [("B", 1e-6), ("KiB", 1e-3), ("MiB", 1.0)].into_iter().find(|(name, _)| *name == unit).unwrap().1;
    number.parse::<f64>().unwrap() * factor
}

#[test]
fn production_comes_scrubbed_and_only_what_differs_travels() {
    let lab = lab("into", "");
    let two = lab.root.join("containers/two/container.toml");
    let silent = std::fs::read_to_string(&two).unwrap();
    lab.lap(&["up", "--all"]).ok();
    on(
        &lab,
        "prod",
        "cd /data && mkdir -p gone && echo secret >one/secret && echo production >one/own && echo prod >one/say \
         && head -c 20000000 /dev/urandom >one/large && ln one/large one/link && mkfifo one/fifo && echo two >two/say && sync",
    );
    on(&lab, "test", "echo test >/data/one/own && echo old >/data/one/say");
    lab.lap(&["snapshot", "prod"]).ok();

    // Nobody said how: nothing travels.
    let refused = lab.lap(&["restore", "--yes", "latest", "--into", "test"]).fails(3);
    assert!(refused.contains("`one`, `two` do not define how their data is scrubbed"), "{refused}");
    std::fs::write(&two, format!("{silent}[snapshot]\nscrub = \"none\"\n")).unwrap();
    let refused = lab.lap(&["restore", "--yes", "latest", "--into", "test"]).fails(3);
    assert!(refused.contains("`one` does not define how its data is scrubbed"), "{refused}");
    let refused = lab.lap(&["restore", "--yes", "latest", "test", "--into", "prod"]).fails(10);
    assert!(
        refused.contains("`prod` runs releases: lap does not replace its data with another environment's"),
        "{refused}"
    );
    let refused = lab.lap(&["restore", "--yes", "latest", "test", "--into", "test"]).fails(2);
    assert!(refused.contains("both the source and the target"), "{refused}");

    // A program that fails, and one that hangs: test is as it was.
    for (scrub, why) in [
        ("scrub = [\"/bin/sh\", \"-c\", \"echo no room; exit 3\"]", "`scrub` of `one` failed: no room"),
        ("scrub = [\"/bin/sleep\", \"600\"]", "`scrub` of `one` exceeded its time limit of 20 s"),
    ] {
        set_scrub(&lab, scrub);
        let said = lab.lap(&["restore", "--yes", "latest", "--into", "test"]).fails(7);
        assert!(said.contains(why), "{said}");
        assert_eq!((seen(&lab, "say").as_str(), left_over(&lab).as_str()), ("old", ""));
    }

    // What it may see, and that it cannot reach anybody.
    let script = "rm /data/secret; cp /before/own /data/own; ls /sys/class/net >/data/net; ls /run/secrets >/data/secrets; \
                  touch /before/x 2>/dev/null && echo writable >/data/before; true";
    set_scrub(&lab, &format!("scrub = [\"/bin/sh\", \"-c\", \"{script}\"]"));
    let would = lab.lap(&["restore", "--yes", "latest", "--into", "test", "--dry-run"]).ok();
    assert!(would.contains("two        none") && would.contains("one        /bin/sh -c"), "{would}");
    let said = lab.lap(&["restore", "--yes", "latest", "--into", "test"]).ok();
    assert!(said.contains("nothing had to be sent"), "it had come before the programs failed: {said}");
    until_healthy(&lab);
    let all = on(&lab, "test", "cd /data && ls -A . one && cat one/own one/say two/say one/net one/secrets");
    assert!(!all.contains("gone") && !all.contains("\nsecret\n") && !all.contains("before"), "{all}");
    assert!(all.ends_with("test\nprod\ntwo\nlo\n"), "{all}");
    assert_eq!(on(&lab, "test", "stat -c '%h %F' /data/one/large /data/one/fifo"), "2 regular file\n1 fifo\n");
    assert_eq!(on(&lab, "prod", "cat /data/one/own"), "production\n", "production is as it was");
    assert_eq!(left_over(&lab), "");

    // And back; then the next one, of which little is new.
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
    let kept = list.as_array().unwrap().last().unwrap()["meta"]["id"].as_str().unwrap().to_owned();
    lab.lap(&["restore", "--yes", &kept]).ok();
    until_healthy(&lab);
    assert_eq!(seen(&lab, "say"), "old");
    on(&lab, "prod", "echo newer >/data/one/say; sync");
    lab.lap(&["snapshot", "prod"]).ok();
    let said = lab.lap(&["restore", "--yes", "latest", "prod", "--into", "test"]).ok();
    assert!(travelled(&said) < 1.0, "{said}");
    until_healthy(&lab);
    assert_eq!((seen(&lab, "say").as_str(), seen(&lab, "own").as_str()), ("newer", "test"));
    assert_eq!(on(&lab, "test", "ls /var/lib/lap/pool/received/prod | wc -l").trim(), "1", "only the last is kept");
}

#[test]
fn killed_at_each_step_test_is_old_or_new() {
    let lab = lab("into-kill", "scrub = [\"/bin/sh\", \"-c\", \"rm /data/secret; sleep 0.2\"]");
    lab.edit("containers/two/container.toml", "depends_on", "snapshot = { scrub = \"none\" }\ndepends_on");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    on(
        &lab,
        "prod",
        "cd /data/one && echo secret >secret && echo new >say && head -c 150000000 /dev/urandom >large && sync",
    );
    lab.lap(&["snapshot", "prod"]).ok();
    let steps = [&["copy the received data", "scrub `one`", "keep the scrubbed copy"][..], &RESTORING].concat();
    let reset = || {
        on(&lab, "test", "cd /data/one && echo old >say && rm -f secret && sync");
    };
    let bring = ["restore", "--yes", "--wait", "latest", "--into", "test"];

    // `lap` itself goes while the data travels, which takes longer than to see that it does: nothing has changed, and nothing is left of it.
    reset();
    let mut bringing = lab.start(&bring);
    let came = "ls /var/lib/lap/pool/received/.new/data/one 2>/dev/null || true";
    bringing.until("the data comes", || !on(&lab, "test", came).is_empty());
    bringing.kill();
    until_or(|| left_over(&lab).is_empty(), || left_over(&lab));
    assert_eq!(seen(&lab, "say"), "old");

    for node in [false, true] {
        for (index, step) in steps.iter().enumerate() {
            reset();
            let at = if node { format!("node {step}") } else { (*step).to_owned() };
            kill_at(&lab, "test", &at, &bring);
            until_healthy(&lab);
            let switched = index > 6;
            assert_eq!(seen(&lab, "say"), if switched { "new" } else { "old" }, "killed at {at}");
            assert_eq!(seen(&lab, "secret"), "", "killed at {at}");
            assert_eq!(left_over(&lab), "", "killed at {at}");
            assert_eq!(on(&lab, "test", "ls /var/lib/lap/pool/received/prod | wc -l").trim(), "1", "killed at {at}");
            let all: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
            for listed in all.as_array().unwrap() {
                lab.lap(&["snapshot", "rm", "--yes", "--wait", listed["meta"]["id"].as_str().unwrap()]).ok();
            }
        }
    }
    lab.lap(&bring).ok();
    until_healthy(&lab);
    assert_eq!(seen(&lab, "say"), "new");
}
