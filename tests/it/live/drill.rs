//! A drill brings an environment back beside itself, and nothing of it is left, however it ends.

use super::lab::{Lab, run};

/// Everything on this machine's Docker that a drill of the lab made.
fn left(lab: &Lab) -> String {
    let name = format!("name={}-drill", lab.name);
    let mut all = String::new();
    for what in [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q"]] {
        let arguments: Vec<&str> = what.iter().copied().chain(["--filter", &name]).collect();
        all += &run("docker", &arguments).ok();
    }
    all
}

fn drilled(lab: &Lab) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_str(&lab.lap(&["status", "--json"]).ok()).unwrap();
    status["facts"]["copies"]["office"]["drilled"].clone()
}

#[test]
fn a_drill_tells_whether_it_would_come_back() {
    let lab = Lab::with_registry("drill");
    let disk = tempfile::tempdir().unwrap();
    let at = disk.path().join("office").display().to_string();
    lab.edit("lap.toml", "lab = \"tiny\"\n", &format!("lab = \"tiny\"\n[repositories]\noffice = \"{at}\"\n"));
    lab.write("containers/one/checks/data", "#!/bin/sh\ngrep -q then /data/file\n");
    lab.executable("containers/one/checks/data");
    // The checks of `two` run in an image that no container runs from and no other image stands on.
    lab.write("containers/tools/Dockerfile", "FROM infra/one\nRUN echo tools > /say\n");
    lab.write("containers/tools/container.toml", "scale = 0\n");
    lab.edit("containers/two/container.toml", "depends_on", "checks = { image = \"tools\" }\ndepends_on");
    lab.write("containers/two/checks/tools", "#!/bin/sh\ngrep -q tools /say\n");
    lab.executable("containers/two/checks/tools");
    lab.commit();
    lab.lap(&["up"]).ok();
    let passphrase = disk.path().join("passphrase");
    std::fs::write(&passphrase, "a good passphrase\n").unwrap();
    lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    assert!(lab.lap(&["recover", "--drill"]).fails(2).contains("`office` has no snapshot of `test`"));
    lab.on_node("test", &["sh", "-c", "echo then >/data/one/file"]).ok();
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot", "copy"]).ok();
    lab.on_node("test", &["sh", "-c", "echo now >/data/one/file"]).ok();

    // Another lab may have the name that the drill would take: its data is no leftover.
    let volume = format!("lap-{}-drill-test-lap", lab.name);
    run("docker", &["volume", "create", &volume]).ok();
    let said = lab.lap(&["recover", "--drill"]).fails(10);
    assert!(said.contains("the data of the node `test` is on this machine"), "{said}");
    run("docker", &["volume", "rm", &volume]).ok();

    let said = lab.lap(&["recover", "--drill"]).ok();
    assert!(said.contains("Recovered `test` from ") && said.contains("healthy, 2 checks passed"), "{said}");
    assert!(said.contains("would lose the changes"), "{said}");
    assert_eq!(left(&lab), "");
    assert!(drilled(&lab)["failed"].is_null() && drilled(&lab)["seconds"].as_f64().unwrap() > 0.0);
    assert!(lab.lap(&["status"]).ok().contains(", drilled "));
    // The real one went on.
    assert_eq!(lab.on_node("test", &["cat", "/data/one/file"]).ok(), "now\n");
    lab.healthy();

    // Killed at each step, and stopped: the next one begins anew, and leaves nothing either.
    for until in ["make the node", "fetch ", "restore ", "start "] {
        let mut working = lab.start(&["recover", "--drill", "--progress", "json"]);
        working.until_step(until);
        if until == "start " {
            run("kill", &["-INT", &working.id().to_string()]).ok();
            working.end().fails(130);
            assert_eq!(left(&lab), "", "stopped, it clears up after itself");
        } else {
            working.kill();
        }
        lab.healthy();
    }

    // What would not come back is said, and is no secret of the one who drilled.
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot", "copy"]).ok();
    let said = lab.lap(&["recover", "--drill"]).fails(7);
    assert!(
        said.contains("the recovery of `test` from ")
            && said.contains(" failed: 1 of ")
            && said.contains("failed: `data` of `one`"),
        "{said}"
    );
    assert_eq!(left(&lab), "");
    assert!(drilled(&lab)["failed"].as_str().unwrap().contains("`data` of `one`"));
    assert!(lab.lap(&["status"]).ok().contains(", a drill failed "));
    assert_eq!(lab.on_node("test", &["cat", "/data/one/file"]).ok(), "now\n");
}
