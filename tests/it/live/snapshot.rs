//! Snapshot and restore on a real node: what comes back, what goes on running, and what a kill in the middle leaves.

use super::{
    lab::{Lab, RESTORING, ROOTFS, until, until_or},
    working::kill_at,
};

/// The names of all snapshots, the oldest first.
fn snapshots(lab: &Lab) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
    list.as_array().unwrap().iter().map(|s| s["meta"]["id"].as_str().unwrap().to_owned()).collect()
}

fn write(lab: &Lab, text: &str) {
    lab.on_node("test", &["sh", "-c", &format!("mkdir -p /data/one && echo {text} >/data/one/file && sync")]).ok();
}

/// Read in the container, hence through the mount it was started with.
fn read(lab: &Lab) -> String {
    lab.on_node("test", &["docker", "exec", "infra_one", "cat", "/data/file"]).ok().trim().to_owned()
}

fn until_healthy(lab: &Lab) {
    until_or(|| lab.lap(&["status"]).code == 0, || lab.lap(&["status"]).out);
}

#[test]
fn there_and_back() {
    let lab = Lab::tiny("snapshot");
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&["snapshot", "list"]).ok().contains("`test` has no snapshots"));
    write(&lab, "old");
    let said = lab.lap(&["snapshot", "--note", "before the experiment"]).ok();
    assert!(said.contains(" of `test`, in ") && said.contains("`lap restore 2"), "{said}");
    write(&lab, "new");
    lab.on_node("test", &["sh", "-c", "echo x >/data/one/more"]).ok();

    let would = lab.lap(&["restore", "--yes", "latest", "--dry-run"]).ok();
    assert!(
        would.contains("LOST") && would.contains("taken back one/file") && would.contains("lost       one/more"),
        "{would}"
    );
    assert_eq!(read(&lab), "new", "a dry run changes nothing");

    let said = lab.lap(&["restore", "--yes", "latest"]).ok();
    assert!(said.contains("Restored `test` from ") && said.contains("undoes this"), "{said}");
    until_healthy(&lab);
    assert_eq!(read(&lab), "old");
    let list = lab.lap(&["snapshot", "list", "--sizes"]).ok();
    assert!(list.contains("before the experiment") && list.contains("before the restore of"), "{list}");
    let all = snapshots(&lab);
    assert_eq!(all.len(), 2);

    lab.lap(&["restore", "--yes", &all[1]]).ok();
    until_healthy(&lab);
    assert_eq!(read(&lab), "new", "what the restore replaced came back");
    let diff = lab.lap(&["snapshot", "diff", &all[0], &all[1]]).ok();
    assert!(diff.contains("added      one/more") && diff.contains("changed    one/file"), "{diff}");

    // One container, one file: the rest goes on running.
    let id_of = |name: &str| lab.on_node("test", &["docker", "inspect", "--format", "{{.State.StartedAt}}", name]).ok();
    let before = [id_of("infra_one"), id_of("infra_two")];
    lab.lap(&["restore", "--yes", &all[0], "--file", "one/file"]).ok();
    assert_eq!(read(&lab), "old");
    assert_eq!([id_of("infra_one"), id_of("infra_two")], before, "nothing was stopped for a file");
    write(&lab, "new");
    assert!(lab.lap(&["restore", "--yes", &all[0], "--only", "one"]).ok().contains("Restored `one` from"));
    until_healthy(&lab);
    assert_eq!(read(&lab), "old");
    assert!(id_of("infra_one") != before[0] && id_of("infra_two") == before[1], "only its own container was stopped");
    assert_eq!(lab.on_node("test", &["ls", "/data/one"]).ok().trim(), "file");
    assert!(
        lab.lap(&["restore", "--yes", &all[0], "--file", "one"]).fails(2).contains("use `--only one` to restore it")
    );
    assert!(
        lab.lap(&["restore", "--yes", &all[0], "--only", "one/file"]).fails(2).contains("`one` has no service `file`")
    );
    assert!(
        lab.lap(&["restore", "--yes", &all[0], "--file", "../state"]).fails(2).contains("is not a path below /data")
    );
    write(&lab, "new");

    // Wrong names, somebody else's turn, another release: one sentence each, nothing done.
    assert!(
        lab.lap(&["restore", "--yes", "20200101-000000"]).fails(2).contains("there is no snapshot `20200101-000000`")
    );
    assert!(lab.lap(&["snapshot", "rm", "--yes", "../data"]).fails(2).contains("there is no snapshot `../data`"));
    lab.write("containers/two/Dockerfile", "FROM infra/one\nRUN echo two, changed > /say\n");
    lab.lap(&["up"]).ok();
    let says = || lab.on_node("test", &["docker", "exec", "infra_two", "cat", "/say"]).ok();
    assert_eq!(says().trim(), "two, changed");
    lab.lap(&["restore", "--yes", &all[0], "--keep-release"]).ok();
    until_healthy(&lab);
    assert_eq!((read(&lab).as_str(), says().trim()), ("old", "two, changed"));
    write(&lab, "new");
    assert!(lab.lap(&["restore", "--yes", &all[0]]).ok().contains("with the images of that time"));
    until_healthy(&lab);
    assert_eq!((read(&lab).as_str(), says().trim()), ("old", "two"));
    // Their images are gone, and there is no registry in this small lab: found before anything is stopped.
    lab.lap(&["up"]).ok();
    assert_eq!(says().trim(), "two, changed");
    lab.on_node("test", &["sh", "-c", "docker rmi --force $(docker images --quiet --filter label=lap.build)"]);
    let refused = lab.lap(&["restore", "--yes", &all[0]]).fails(10);
    assert!(refused.contains("no longer exist: `two`") && refused.contains("--keep-release"), "{refused}");
    lab.healthy();

    // Out of the node and in again: everything a file system knows of a file.
    let make = "cd /data/one && printf x >plain && ln plain link && ln -s plain soft && mkfifo fifo && truncate -s 5M hole \
                && chown 1234:2345 plain && chmod 6751 plain && touch -d '2001-02-03 04:05:06.789' plain \
                && printf x >\"$(printf 'odd\\n\\377')\"";
    lab.on_node("test", &["sh", "-c", make]).ok();
    lab.lap(&["snapshot"]).ok();
    let id = snapshots(&lab).pop().unwrap();
    let file = lab.root.join("snapshot.tar").display().to_string();
    assert!(lab.lap(&["snapshot", "export", &id, &file]).ok().contains(&format!("Wrote snapshot {id} of `test` to")));
    let look =
        format!("cd /var/lib/lap/pool/snapshots/{id}/data && find . -printf '%P %M %U %G %n %s %b %T@ %l\\n' | sort");
    let before = lab.on_node("test", &["sh", "-c", &look]).ok();
    assert!(before.contains("one/plain -rwsr-s--x 1234 2345 2"), "{before}");
    let again = lab.lap(&["snapshot", "import", &file]).fails(10);
    assert!(again.contains(&format!("snapshot {id} exists already")), "{again}");
    lab.lap(&["snapshot", "rm", "--yes", &id]).ok();
    lab.write("no.tar", "nothing");
    assert!(lab.lap(&["snapshot", "import", "no.tar"]).fails(5).contains("`tar` failed"));
    assert!(!snapshots(&lab).contains(&id));
    lab.lap(&["snapshot", "import", &file]).ok();
    assert_eq!(lab.on_node("test", &["sh", "-c", &look]).ok(), before);
    lab.lap(&["restore", "--yes", &id, "--keep-release"]).ok();
    until_healthy(&lab);

    for id in snapshots(&lab) {
        lab.lap(&["snapshot", "rm", "--yes", &id]).ok();
    }
    assert!(snapshots(&lab).is_empty());
    assert_eq!(lab.on_node("test", &["ls", "-A", "/var/lib/lap/pool/snapshots"]).ok(), "");
}

/// The agent is killed before each step, and after that the node itself: always one of both states, whole, and running.
#[test]
fn killed_at_each_step() {
    let lab = Lab::tiny("restore-kill");
    lab.lap(&["up"]).ok();
    write(&lab, "old");
    lab.lap(&["snapshot"]).ok();
    let id = snapshots(&lab).remove(0);
    for node in [false, true] {
        for step in RESTORING {
            write(&lab, "new");
            let at = if node { format!("node {step}") } else { step.to_owned() };
            kill_at(&lab, "test", &at, &["restore", "--yes", "--wait", &id]);
            // By itself: nobody runs another command.
            until_healthy(&lab);
            let switched = RESTORING.iter().position(|s| *s == step).unwrap() > 3;
            assert_eq!(read(&lab), if switched { "old" } else { "new" }, "killed at {at}");
            let others = snapshots(&lab).into_iter().filter(|other| *other != id).collect::<Vec<_>>();
            assert_eq!(others.len(), usize::from(switched), "killed at {at}");
            for other in others {
                let kept = format!("/var/lib/lap/pool/snapshots/{other}/data/one/file");
                assert_eq!(lab.on_node("test", &["cat", &kept]).ok().trim(), "new");
                lab.lap(&["snapshot", "rm", "--yes", "--wait", &other]).ok();
            }
            let left = lab.on_node("test", &["ls", "-A", "/var/lib/lap/pool", "/var/lib/lap/pool/snapshots"]).ok();
            assert!(!left.contains("lap-new") && !left.contains(".new-"), "killed at {at}: {left}");
        }
    }
    // The way there is free again.
    lab.lap(&["restore", "--yes", "--wait", &id]).ok();
    until_healthy(&lab);
    assert_eq!(read(&lab), "old");
}

/// Of a part: once the containers run again it is answered, and the rest is done also if the agent dies over it.
#[test]
fn a_part_killed_at_each_step() {
    const STEPS: [&str; 6] = [
        "prepare the data",
        "stop the containers",
        "switch",
        "start the containers",
        "keep the replaced data",
        "close",
    ];
    let lab = Lab::tiny("part-kill");
    lab.lap(&["up"]).ok();
    write(&lab, "old");
    lab.lap(&["snapshot"]).ok();
    let id = snapshots(&lab).remove(0);
    for (nth, step) in STEPS.into_iter().enumerate() {
        write(&lab, "new");
        lab.on_node("test", &["sh", "-c", &format!("echo '{step}' >/run/lap/die-at")]).ok();
        let ran = lab.lap(&["restore", "--yes", "--wait", &id, "--only", "one"]);
        assert!(nth > 3 || ran.code != 0, "killed at {step}, and it says it is done");
        until_healthy(&lab);
        let asked = lab.on_node("test", &["test", "-e", "/run/lap/die-at"]);
        assert_eq!(asked.code, 1, "{step} was never reached");
        let switched = nth > 2;
        assert_eq!(read(&lab), if switched { "old" } else { "new" }, "killed at {step}");
        let others = snapshots(&lab).into_iter().filter(|other| *other != id).collect::<Vec<_>>();
        assert_eq!(others.len(), usize::from(switched), "killed at {step}");
        for other in others {
            let kept = format!("/var/lib/lap/pool/snapshots/{other}/data/one/file");
            assert_eq!(lab.on_node("test", &["cat", &kept]).ok().trim(), "new");
            lab.lap(&["snapshot", "rm", "--yes", "--wait", &other]).ok();
        }
        let left = "cd /var/lib/lap/pool && ls -A . snapshots data state && ls -A snapshots/*/data";
        let left = || lab.on_node("test", &["sh", "-c", left]).ok();
        let halves = ["lap-new", ".new-", ".lap-restore", "restore-only"];
        // Its containers run a moment before the agent has closed it.
        until_or(|| !halves.iter().any(|name| left().contains(name)), || format!("killed at {step}: {}", left()));
    }
    // Not killed, and whoever looks right afterwards finds what was there before.
    write(&lab, "new");
    let said = lab.lap(&["restore", "--yes", "--wait", &id, "--only", "one"]).ok();
    let others = snapshots(&lab).into_iter().filter(|other| *other != id).collect::<Vec<_>>();
    assert!(others.len() == 1 && said.contains(&others[0]), "{others:?}: {said}");
    lab.lap(&["restore", "--yes", "--wait", &others[0], "--only", "one"]).ok();
    assert_eq!(read(&lab), "new");
}

/// The agent takes and removes them without anybody; `status` says when it does not.
#[test]
fn by_itself() {
    let lab = Lab::tiny("schedule");
    lab.edit("lap.toml", "lab = \"tiny\"\n", "lab = \"tiny\"\n[snapshot]\nevery = \"1h\"\nkeep = { last = 2 }\n");
    lab.commit();
    let up = lab.lap(&["up"]).ok();
    until_or(|| !snapshots(&lab).is_empty(), || format!("one is taken\n{up}"));
    let list = lab.lap(&["snapshot", "list"]).ok();
    assert!(list.contains("schedule") && list.contains("agent"), "{list}");
    assert!(lab.lap(&["status"]).ok().contains("snapshots: 1, the newest"));
    // Three that the schedule took long ago: made by hand, as nobody wants to wait.
    let first = snapshots(&lab).remove(0);
    for old in ["20260101-000000", "20260102-000000", "20260103-000000"] {
        let script = format!(
            "cd /var/lib/lap/pool/snapshots && mkdir {old} && btrfs subvolume snapshot -r {first}/data {old}/data \
             && sed -e 's/{first}/{old}/' -e 's/\"at\": [0-9]*/\"at\": 1767225600/' {first}/meta.json >{old}/meta.json"
        );
        lab.on_node("test", &["sh", "-c", &script]).ok();
    }
    let said = lab.lap(&["snapshot", "--note", "mine"]).ok();
    assert!(said.contains("Snapshot 2"), "{said}");
    let would = lab.lap(&["snapshot", "prune", "--yes", "--dry-run"]).ok();
    assert!(would.contains("would be removed  no rule of the policy keeps it"), "{would}");
    assert!(would.contains("taken by hand; the newest; among the last 2"), "{would}");
    assert_eq!(snapshots(&lab).len(), 5, "a dry run removes nothing");
    lab.lap(&["snapshot", "prune", "--yes"]).ok();
    let left = snapshots(&lab);
    assert_eq!((left.len(), left[0].as_str()), (2, first.as_str()), "{left:?}");
    from_the_future(&lab, &first, &left[1]);
    // None for longer than the schedule allows. The agent cannot take one: a hook that fails prevents it.
    let failing = "[snapshot]\nbefore = [\"/bin/false\"]\n[build.rootfs]";
    lab.edit("containers/one/container.toml", "[build.rootfs]", failing);
    lab.lap(&["up"]).ok();
    for id in snapshots(&lab) {
        lab.lap(&["snapshot", "rm", "--yes", &id]).ok();
    }
    lab.on_node("test", &["touch", "-d", "2026-01-01", "/var/lib/lap/policy/snapshot.json"]).ok();
    assert!(lab.lap(&["status"]).fails(7).contains("the newest snapshot is older than the schedule allows"));
    assert!(snapshots(&lab).is_empty());
    lab.edit("containers/one/container.toml", failing, "[build.rootfs]");
    lab.lap(&["up", "--wait"]).ok();
    // After a failure the agent waits five minutes; a new one does not know of it.
    lab.on_node("test", &["pkill", "-9", "-f", "lap agent run"]).ok();
    let taken = ["sh", "-c", "ls /var/lib/lap/pool/snapshots/*/meta.json"];
    until("one is taken", || lab.on_node("test", &taken).code == 0);
    lab.healthy();
}

/// A snapshot that was taken before `newest`, while the clock was wrong: its date decides nothing, and is told.
fn from_the_future(lab: &Lab, first: &str, newest: &str) {
    let future = "20990101-000000";
    let script = format!(
        "cd /var/lib/lap/pool/snapshots && mkdir {future} && btrfs subvolume snapshot -r {first}/data {future}/data \
         && sed -e 's/{first}/{future}/' -e 's/\"at\": [0-9]*/\"at\": 4070908800/' {first}/meta.json >{future}/meta.json"
    );
    lab.on_node("test", &["sh", "-c", &script]).ok();
    let shown = lab.lap(&["snapshot", "show", "latest"]).ok();
    assert!(shown.contains(newest), "{shown}");
    let list = lab.lap(&["snapshot", "list"]).ok();
    assert!(list.contains("in the future") && list.contains(&format!("lap snapshot rm {future} --env test")), "{list}");
    let would = lab.lap(&["snapshot", "prune", "--yes", "--dry-run"]).ok();
    assert!(would.contains("dated in the future"), "{would}");
    let status = lab.lap(&["status"]).fails(7);
    assert!(status.contains(&format!("`{future}` is dated in the future")), "{status}");
    lab.lap(&["snapshot", "rm", "--yes", future, "--env", "test"]).ok();
    lab.lap(&["status"]).ok();
}

/// A database that is asked to hold still; one that hangs; one that fails. Nothing stays frozen.
#[test]
fn hooks() {
    let lab = Lab::tiny("hooks");
    let hooks = |before: &str| {
        let toml = "names = [\"one.internal\"]\n\
             healthcheck = { test = [\"CMD\", \"/bin/test\", \"-e\", \"/say\"] }\n";
        let hooks = format!(
            "[snapshot]\nbefore = [\"/bin/sh\", \"-c\", \"{before}\"]\n\
             after = [\"/bin/sh\", \"-c\", \"rm /data/frozen; echo after >>/data/log\"]\ntimeout = \"10s\"\n"
        );
        lab.write("containers/one/container.toml", &format!("{toml}{ROOTFS}{hooks}"));
    };
    hooks("touch /data/frozen; echo before >>/data/log");
    lab.lap(&["up"]).ok();
    let started = || lab.on_node("test", &["docker", "inspect", "--format", "{{.State.StartedAt}}", "infra_one"]).ok();
    let first = started();
    lab.lap(&["snapshot"]).ok();
    let log = || lab.on_node("test", &["cat", "/data/one/log"]).ok();
    let frozen = || lab.on_node("test", &["test", "-e", "/data/one/frozen"]).code == 0;
    assert_eq!(log(), "before\nafter\n");
    let taken = format!("/var/lib/lap/pool/snapshots/{}/data/one", snapshots(&lab)[0]);
    let inside = lab.on_node("test", &["sh", "-c", &format!("cat {taken}/log; ls {taken}")]).ok();
    assert_eq!(inside, "before\nfrozen\nlog\n", "it was taken while the container held still");

    hooks("touch /data/frozen; sleep 600");
    lab.lap(&["up"]).ok();
    assert_eq!(started(), first, "other hooks are no reason to start it anew");
    let said = lab.lap(&["snapshot"]).fails(7);
    assert!(
        said.contains("no snapshot was taken: the hook `before` of `one` exceeded its time limit of 10 s"),
        "{said}"
    );
    assert!(!frozen() && !lab.on_node("test", &["pgrep", "-a", "sleep"]).out.contains("sleep 600"));

    hooks("touch /data/frozen; echo no room; exit 3");
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&["snapshot"]).fails(7).contains("the hook `before` of `one` failed: no room"));
    assert!(!frozen());
    assert_eq!(snapshots(&lab).len(), 1);

    // The agent dies while the container holds still: its next life lets it go on.
    hooks("touch /data/frozen; sleep 9");
    lab.lap(&["up"]).ok();
    let mut taking = lab.start(&["snapshot"]);
    taking.until("the hook runs", frozen);
    lab.on_node("test", &["pkill", "-9", "-f", "lap agent run"]).ok();
    assert_ne!(taking.end().code, 0);
    until("it goes on", || !frozen());
    until_healthy(&lab);
}
