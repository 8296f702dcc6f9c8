//! A database that writes all the time, and snapshots of it every few seconds.

use super::lab::{Lab, until};

const DOCKERFILE: &str =
    "FROM scratch\nADD rootfs.tar /\nCOPY say /say\nCOPY write /write\nCMD [\"/bin/sh\", \"/write\"]\n";

/// 50 rows a transaction, 20 a second; what it prints is on the disk. The first statement that fails ends it.
const WRITE: &str = r"
commits() {
    echo 'PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, text TEXT NOT NULL);'
    while :; do
        echo 'BEGIN; WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50)'
        echo 'INSERT INTO rows(text) SELECT hex(randomblob(100)) FROM n; COMMIT; SELECT max(id) FROM rows;'
        sleep 0.05
    done
}
commits | stdbuf -oL sqlite3 -bail /data/db
";

/// The last row that the database acknowledged since its container was started; 0 before the first one.
fn acknowledged(lab: &Lab) -> u64 {
    let started = lab.on_node("test", &["docker", "inspect", "--format", "{{.State.StartedAt}}", "infra_one"]).ok();
    let said = lab.on_node("test", &["docker", "logs", "--since", started.trim(), "--tail", "1", "infra_one"]);
    assert_eq!(said.err, "", "a write failed");
    assert_eq!(said.code, 0, "{said:?}");
    match said.out.trim() {
        "" => 0,
        row => row.parse().unwrap_or_else(|error| panic!("{row:?} is no row: {error}")),
    }
}

/// Of a copy of the data: what the database says to it, how many rows there are, and the last one's number.
fn check(lab: &Lab, data: &str) -> (String, u64, u64) {
    lab.on_node("test", &["sh", "-c", &format!("rm -rf /data/two/copy && cp --archive {data} /data/two/copy")]).ok();
    let query = "PRAGMA integrity_check; SELECT count(*) FROM rows; SELECT max(id) FROM rows;";
    let said = lab.on_node("test", &["docker", "exec", "infra_two", "sqlite3", "/data/copy/db", query]).ok();
    let lines: Vec<&str> = said.lines().collect();
    (lines[0].to_owned(), lines[1].parse().unwrap(), lines[2].parse().unwrap())
}

#[test]
fn each_snapshot_holds_every_row_that_was_acknowledged_before_it() {
    let lab = Lab::tiny("database");
    lab.write("containers/one/Dockerfile", DOCKERFILE);
    lab.write("containers/one/write", WRITE);
    lab.edit(
        "containers/one/container.toml",
        "variant = \"extract\"\npackages = [\"busybox-static\"]",
        "variant = \"essential\"\npackages = [\"sqlite3\"]",
    );
    lab.commit();
    lab.lap(&["up"]).ok();
    until("it writes 1000 rows", || acknowledged(&lab) >= 1000);
    let mut taken = Vec::new();
    for _ in 0..6 {
        let before = acknowledged(&lab);
        lab.lap(&["snapshot"]).ok();
        let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
        let id = list.as_array().unwrap().last().unwrap()["meta"]["id"].as_str().unwrap().to_owned();
        taken.push((id, before));
        until("it goes on writing", || acknowledged(&lab) >= before + 1000);
    }
    for (id, before) in &taken {
        let (said, count, last) = check(&lab, &format!("/var/lib/lap/pool/snapshots/{id}/data/one"));
        assert_eq!((said.as_str(), count), ("ok", last), "{id}");
        assert!(last >= *before, "{id}: {last} of {before}");
    }
    let restarts = ["docker", "inspect", "--format", "{{.RestartCount}}", "infra_one"];
    assert_eq!(lab.on_node("test", &restarts).ok().trim(), "0", "no write failed");

    // The database itself goes on from there.
    let (id, before) = &taken[2];
    lab.lap(&["restore", "--yes", id]).ok();
    until("it goes on", || acknowledged(&lab) > *before + 50);
}
