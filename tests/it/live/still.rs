//! Nodes whose pool is no btrfs: the same commands and the same promises, but containers stand still for a moment.

use super::{
    lab::{Lab, RESTORING, SMALL, until, until_or},
    working,
};

/// Writes all the time, in place: a number twice, which an instant never shows as two different ones.
const WRITER: &str = "CMD [\"/bin/sh\", \"-c\", \"trap exit TERM; n=100000; while :; do n=$((n+1)); echo $n 1<>/data/first; echo $n 1<>/data/second; done & wait\"]\n";

fn lab(name: &str, filesystem: &str) -> Lab {
    let lab = Lab::tiny(name);
    lab.edit("nodes/test/node.toml", "disk = \"1g\"\n", &format!("disk = \"1g\"\nfilesystem = \"{filesystem}\"\n"));
    if filesystem == "xfs" {
        lab.edit("nodes/rootfs.toml", "\"procps\",", "\"procps\", \"xfsprogs\",");
    }
    lab.write("containers/one/Dockerfile", &format!("{SMALL}{WRITER}"));
    let sleeps = "command = [\"/bin/sh\", \"-c\", \"trap exit TERM; sleep infinity & wait\"]\ndepends_on";
    lab.edit("containers/two/container.toml", "depends_on", sleeps);
    lab.commit();
    lab
}

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok()
}

fn list(lab: &Lab) -> Vec<serde_json::Value> {
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
    list.as_array().unwrap().clone()
}

fn ids(lab: &Lab) -> Vec<String> {
    list(lab).iter().map(|listed| listed["meta"]["id"].as_str().unwrap().to_owned()).collect()
}

fn until_healthy(lab: &Lab) {
    until_or(|| lab.lap(&["status"]).code == 0, || lab.lap(&["status"]).out);
}

/// What nothing may leave, and nobody may stand still.
fn nothing_is_left(lab: &Lab, when: &str) {
    let left = node(lab, "ls -A /var/lib/lap/pool /var/lib/lap/pool/snapshots | grep -E 'lap-new|\\.new-' || true");
    assert_eq!(left, "", "{when}");
    assert_eq!(node(lab, "ps -eo stat,comm | grep '^T' || true"), "", "{when}: somebody stands still");
    assert_eq!(node(lab, "ls -A /var/lib/lap/pool/state | grep -E 'paused|restore' || true"), "", "{when}");
}

fn goes_and_comes(lab: &Lab, filesystem: &str) {
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&["status"]).ok().contains(&format!(" free on {filesystem}")));
    node(
        lab,
        "cd /data/two && echo old >file && head -c 3000000 /dev/urandom >big && ln big link && mkfifo fifo && truncate -s 5M hole \
         && chown 1234:2345 big && chmod 6751 big && touch -d '2001-02-03 04:05:06.789' big && printf x >\"$(printf 'odd\\n\\377')\" && sync",
    );
    let said = lab.lap(&["snapshot"]).ok();
    assert!(said.contains("Containers were frozen for ") && said.contains(" were copied."), "{said}");
    for _ in 0..3 {
        lab.lap(&["snapshot"]).ok();
    }
    let all = ids(lab);
    let place = |id: &str| format!("/var/lib/lap/pool/snapshots/{id}/data");
    for id in &all {
        // Both at one instant: the second is the first, or the one before it.
        let two = node(lab, &format!("cat {0}/one/first {0}/one/second", place(id)));
        let mut two = two.lines().map(|line| line.parse::<u64>().unwrap());
        let (first, second) = (two.next().unwrap(), two.next().unwrap());
        assert!(first == second || first == second + 1, "{id}: {first} {second}");
    }
    let inode = |path: String| node(lab, &format!("stat -c %i '{path}'"));
    assert_eq!(inode(place(&all[2]) + "/two/big"), inode(place(&all[3]) + "/two/big"), "it has not changed");
    assert_ne!(inode(place(&all[3]) + "/two/big"), inode("/data/two/big".into()));
    let refused = lab.lap(&["snapshot", "--max-pause", "1us"]).fails(10);
    assert!(refused.contains("no snapshot was taken: containers would be frozen for longer than 0.0 ms"), "{refused}");
    lab.lap(&["snapshot", "--max-pause", "1m"]).ok();
    nothing_is_left(lab, "after a refusal");
    let shown = lab.lap(&["snapshot", "show", &all[3]]).ok();
    assert!(shown.contains("Containers were frozen for ") && shown.contains("Stays: "), "{shown}");
    assert!(lab.lap(&["snapshot", "list", "--sizes"]).ok().contains(&all[0]));

    // Whole, in part, one file; back again.
    let look = "cd /data/two && find . ! -name '.lap*' -printf '%P %M %U %G %n %s %T@ %l\\n' | sort && sha256sum big";
    let before = node(lab, look);
    node(lab, "cd /data/two && echo new >file && echo more >more && rm link && echo x >>big");
    let would = lab.lap(&["restore", "--yes", &all[3], "--dry-run"]).ok();
    assert!(would.contains("taken back two/file") && would.contains("lost       two/more"), "{would}");
    lab.lap(&["restore", "--yes", &all[3], "--file", "two/file"]).ok();
    assert_eq!(node(lab, "cat /data/two/file /data/two/more"), "old\nmore\n");
    let started = || node(lab, "docker inspect --format '{{.State.StartedAt}}' infra_one");
    let first = started();
    lab.lap(&["restore", "--yes", &all[3], "--only", "two"]).ok();
    until_healthy(lab);
    assert_eq!(node(lab, look), before);
    assert_eq!(started(), first, "only its own container was stopped");
    let kept = ids(lab).pop().unwrap();
    assert_eq!(node(lab, &format!("cat {}/two/more", place(&kept))), "more\n");
    lab.lap(&["restore", "--yes", &kept]).ok();
    until_healthy(lab);
    assert_eq!(node(lab, "docker exec infra_two cat /data/more"), "more\n");
    lab.lap(&["restore", "--yes", &all[3]]).ok();
    until_healthy(lab);
    assert_eq!(node(lab, look), before);
    nothing_is_left(lab, "after restores");

    // What is written now reaches no snapshot.
    let sum = |id: &str| node(lab, &format!("sha256sum <{}/two/big", place(id)));
    let then = sum(&all[3]);
    node(lab, "echo in place 1<>/data/two/big");
    lab.lap(&["snapshot"]).ok();
    let last = ids(lab).pop().unwrap();
    assert_eq!(sum(&all[3]), then);
    assert_ne!(sum(&last), then);

    // Out and in.
    let file = lab.root.join("snapshot.tar").display().to_string();
    lab.lap(&["snapshot", "export", &all[3], &file]).ok();
    lab.lap(&["snapshot", "rm", "--yes", &all[3]]).ok();
    lab.lap(&["snapshot", "import", &file]).ok();
    assert_eq!(sum(&all[3]), then);
    lab.lap(&["snapshot", "rm", "--yes", &all[0], &kept]).ok();
    lab.lap(&["snapshot", "copy", "--snapshot", &last]).ok();
    assert!(lab.lap(&["snapshot", "verify"]).code == 0);
    let (fetched, is) = (sum(&last), last.clone());
    lab.lap(&["snapshot", "rm", "--yes", &last]).ok();
    lab.lap(&["snapshot", "fetch", &is]).ok();
    assert_eq!(sum(&is), fetched);
    nothing_is_left(lab, "at the end");
}

/// Has the agent, or the node, killed at this step of a command, and waits until all is well by itself: nobody runs another one.
fn kill_at(lab: &Lab, at: &str, arguments: &[&str]) {
    working::kill_at(lab, "test", at, arguments);
    until_healthy(lab);
}

/// The pool's file, and what the file system in it says it has.
fn pool(lab: &Lab) -> (u64, u64) {
    let status: serde_json::Value = serde_json::from_str(&lab.lap(&["status", "--json"]).out).unwrap();
    let number = |key: &str| status["facts"]["data"][key].as_u64().unwrap();
    (number("image"), number("size"))
}

fn wish_for(lab: &Lab, mebibytes: u64) {
    let text = std::fs::read_to_string(lab.root.join("nodes/test/node.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("disk")).unwrap();
    lab.edit("nodes/test/node.toml", line, &format!("disk = \"{mebibytes}m\""));
    lab.commit();
}

/// Killed at each step of it, the pool has its size as soon as the agent is back; or nothing has changed, and the same command does it.
fn grows(lab: &Lab) {
    let steps = ["record the size", "extend the file", "extend the file system"];
    for (nth, step) in steps.into_iter().enumerate() {
        let ((image, size), desired) = (pool(lab), 1100 + 100 * nth as u64);
        wish_for(lab, desired);
        let plan = lab.lap(&["up", "--dry-run"]).ok();
        assert!(plan.contains("extend the data pool of `test`"), "{plan}");
        kill_at(lab, step, &["up"]);
        if nth == 0 {
            assert_eq!(pool(lab), (image, size), "killed before {step}");
        } else {
            assert_eq!(pool(lab).0, desired << 20, "killed before {step}");
            assert!(pool(lab).1 > size + (40 << 20), "killed before {step}: {:?} after {size}", pool(lab));
        }
        lab.lap(&["up"]).ok();
        assert!(
            pool(lab).0 == desired << 20 && pool(lab).1 > size + (40 << 20),
            "{step}: {:?} after {size}",
            pool(lab)
        );
        assert_eq!(lab.lap(&["up", "--dry-run"]).ok().lines().next(), Some("Nothing to do."));
    }
    wish_for(lab, 1024);
    let said = lab.lap(&["up"]).ok();
    assert!(said.contains("The data pool of `test` stays at 1.3 GiB: a pool cannot become smaller."), "{said}");
}

/// Production, on btrfs, and test, which has none: whole archives go both ways, and come scrubbed.
fn between_kinds(lab: &Lab) {
    lab.add_prod("description = \"it has no releases, so that it may get data, too\"\n");
    let toml = std::fs::read_to_string(lab.root.join("containers/one/container.toml")).unwrap();
    let script = "rm -f /data/secret; cp /before/own /data/own";
    let scrub = format!("{toml}[snapshot]\nscrub = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
    lab.write("containers/one/container.toml", &scrub);
    lab.edit("containers/two/container.toml", "depends_on", "snapshot = { scrub = \"none\" }\ndepends_on");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    assert!(lab.lap(&["status", "prod"]).ok().contains(" free on btrfs"));
    let on = |environment: &str, script: &str| lab.on_node(environment, &["sh", "-c", script]).ok();
    // Directories are counted differently.
    let look = "cd /data/two && find . ! -type d ! -name '.lap*' -printf '%P %M %U %G %n %s %T@ %l\\n' | sort && sha256sum big && \
                test $(du -k hole | cut -f1) -lt 64";
    on("test", "echo test >/data/one/own");
    on(
        "prod",
        "echo prod >/data/one/own && echo secret >/data/one/secret && cd /data/two && echo real >file && ln -s file soft \
         && head -c 3000000 /dev/urandom >big && ln big link && mkfifo fifo && truncate -s 5M hole && chown 1234:2345 big \
         && chmod 6751 big && touch -d '2001-02-03 04:05:06.789' big && printf x >\"$(printf 'odd\\n\\377')\" && sync",
    );
    let (real, mine) = (on("prod", look), on("test", look));
    lab.lap(&["snapshot", "prod"]).ok();
    for step in ["copy the received data", "scrub `one`", "keep the scrubbed copy"] {
        kill_at(lab, step, &["restore", "--yes", "--wait", "latest", "prod", "--into", "test"]);
        assert_eq!(on("test", look), mine, "killed at {step}");
        nothing_is_left(lab, step);
    }
    lab.lap(&["restore", "--yes", "latest", "prod", "--into", "test"]).ok();
    until_healthy(lab);
    assert_eq!(on("test", look), real);
    assert_eq!(
        on("test", "docker exec infra_one sh -c 'cd /data && cat own && ls secret 2>/dev/null || true'"),
        "test\n"
    );
    nothing_is_left(lab, "what came from btrfs");

    on("test", "echo later >/data/two/file && echo secret >/data/one/secret && sync");
    lab.lap(&["snapshot", "test"]).ok();
    let said = lab.lap(&["restore", "--yes", "latest", "test", "--into", "prod"]).ok();
    assert!(said.contains(" travelled"), "{said}");
    assert_eq!(on("prod", look), on("test", look));
    assert_eq!(on("prod", "cd /data/one && cat own && ls secret 2>/dev/null || true"), "prod\n");
    // It is one as btrfs makes them: nobody writes to it, and the next restore takes no time.
    let brought = on("prod", "ls -d /var/lib/lap/pool/received/test/*/data /var/lib/lap/pool/snapshots/*/data");
    for place in brought.lines() {
        assert_eq!(on("prod", &format!("btrfs property get {place} ro")), "ro=true\n", "{place}");
    }
}

fn with_repository(lab: &Lab) -> tempfile::TempDir {
    let disk = tempfile::tempdir().unwrap();
    let at = disk.path().join("lap").display().to_string();
    lab.edit("lap.toml", "lab = \"tiny\"\n", &format!("lab = \"tiny\"\n[repositories]\noffice = \"{at}\"\n"));
    lab.commit();
    let passphrase = disk.path().join("passphrase");
    std::fs::write(&passphrase, "a good passphrase\n").unwrap();
    lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    disk
}

#[test]
fn there_and_back_on_xfs() {
    let lab = lab("still-xfs", "xfs");
    let _disk = with_repository(&lab);
    goes_and_comes(&lab, "xfs");
    grows(&lab);
    between_kinds(&lab);
}

/// The agent is killed at each step of a snapshot and of a restore, and the node while all stand still: nothing stands still after that,
/// and there is one of both states, whole.
#[test]
fn there_and_back_on_ext4_and_killed_at_each_step() {
    let lab = lab("still-ext4", "ext4");
    let _disk = with_repository(&lab);
    goes_and_comes(&lab, "ext4");
    for id in ids(&lab) {
        lab.lap(&["snapshot", "rm", "--yes", &id]).ok();
    }
    let text = |text: &str| node(&lab, &format!("echo {text} >/data/two/file && sync"));
    text("old");
    lab.lap(&["snapshot"]).ok();
    let id = ids(&lab).remove(0);

    let kill = |at: &str, arguments: &[&str]| kill_at(&lab, at, arguments);
    let goes_on = |when: &str| {
        let number = || node(&lab, "docker exec infra_one cat /data/first");
        let before = number();
        until(&format!("{when}: it goes on"), || number() != before);
    };
    let taking = [
        "copy the changes",
        "freeze the containers",
        "copy the last changes",
        "unfreeze the containers",
        "assemble the snapshot",
        "node copy the last changes",
    ];
    for step in taking {
        text("new");
        kill(step, &["snapshot", "--wait"]);
        goes_on(step);
        assert_eq!(ids(&lab), [id.as_str()], "killed at {step}");
        nothing_is_left(&lab, step);
    }
    for (at, step) in RESTORING.iter().enumerate() {
        text("new");
        kill(step, &["restore", "--yes", "--wait", &id]);
        let switched = at > 3;
        assert_eq!(
            node(&lab, "docker exec infra_two cat /data/file").trim(),
            if switched { "old" } else { "new" },
            "{step}"
        );
        let others: Vec<String> = ids(&lab).into_iter().filter(|other| *other != id).collect();
        assert_eq!(others.len(), usize::from(switched), "killed at {step}");
        for other in others {
            let kept = format!("cat /var/lib/lap/pool/snapshots/{other}/data/two/file");
            assert_eq!(node(&lab, &kept).trim(), "new", "killed at {step}");
            lab.lap(&["snapshot", "rm", "--yes", "--wait", &other]).ok();
        }
        nothing_is_left(&lab, step);
    }
    // A part, killed while the others stand still for the sake of what is kept.
    text("new");
    kill("copy the last changes", &["restore", "--yes", "--wait", &id, "--only", "two"]);
    goes_on("a part");
    assert_eq!(node(&lab, "docker exec infra_two cat /data/file").trim(), "new");
    nothing_is_left(&lab, "a part");
    lab.lap(&["restore", "--yes", "--wait", &id, "--only", "two"]).ok();
    assert_eq!(node(&lab, "cat /data/two/file").trim(), "old");

    // The kernel makes an ext4 larger for whoever may do more than a container: that is said, and nothing has changed.
    wish_for(&lab, 1100);
    let refused = lab.lap(&["up"]).fails(10);
    assert!(refused.contains("an ext4 pool cannot grow in a container"), "{refused}");
    assert_eq!(pool(&lab).0, 1 << 30);
}
