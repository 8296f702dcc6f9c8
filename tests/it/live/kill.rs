//! Kills at every step of `lap up`: lap, the agent, the node. `lap up` again always ends in a healthy lab.

use std::{collections::BTreeSet, io::Read, process::Child};

use super::lab::{Lab, run, until_or};

/// Runs `up`, calls `kill` when a step begins at which it was not called yet, and goes on until an `up` ends by itself.
/// Returns the steps it was called at.
fn kill_at_each_step(lab: &Lab, from: &dyn Fn(&str) -> bool, kill: &dyn Fn(&Child)) -> BTreeSet<String> {
    let mut killed = BTreeSet::new();
    for _ in 0..60 {
        let mut now = None;
        let mut child = lab.watch(&["up"], |title, child| {
            if !from(title) || !killed.insert(title.to_owned()) {
                return true;
            }
            kill(child);
            now = Some(title.to_owned());
            false
        });
        if now.is_some() {
            let _ = child.kill();
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        if now.is_none() {
            assert!(status.success(), "an `up` that nobody disturbed failed after kills at {killed:?}: {said}");
            lab.healthy();
            return killed;
        }
    }
    panic!("`up` does not end: {killed:?}");
}

fn contains(killed: &BTreeSet<String>, wanted: &[&str]) {
    assert!(killed.len() >= 5, "{killed:?}");
    for title in wanted {
        assert!(killed.contains(*title), "never killed at {title:?}: {killed:?}");
    }
}

/// A lab whose builds take long enough that a kill meets each of them.
fn slow(name: &str) -> Lab {
    let lab = Lab::tiny(name);
    lab.edit("containers/one/Dockerfile", "COPY say /say\n", "COPY say /say\nRUN sleep 4\n");
    lab.edit("containers/two/Dockerfile", "RUN echo", "RUN sleep 4; echo");
    lab.commit();
    lab
}

/// The long ones; of the short ones, which run beside each other, each run meets some.
const ON_NODE: [&str; 3] = ["build `one`", "build `two`", "record what runs"];

#[test]
fn lap() {
    let lab = slow("kill-lap");
    let killed = kill_at_each_step(&lab, &|_| true, &|child| {
        // SIGKILL: nothing of it can be caught.
        let _ = run("kill", &["-9", &child.id().to_string()]);
    });
    contains(
        &killed,
        &["make the network 10.86.", "make the node `test`", "wait for the node `test`"]
            .map(|wanted| killed.iter().find(|title| title.starts_with(wanted)).map_or(wanted, String::as_str)),
    );
    contains(&killed, &ON_NODE);
    // The journal of the node knows that the last one ended well.
    assert!(!lab.lap(&["status"]).ok().contains("did not end"));
}

/// The same where images come from another node.
#[test]
fn lap_with_a_builder() {
    let lab = slow("kill-builder");
    lab.write("nodes/maker/node.toml", "environment = \"test\"\nrole = \"builder\"\ndisk = \"1g\"\n");
    lab.commit();
    let killed = kill_at_each_step(&lab, &on_node, &|child| {
        let _ = run("kill", &["-9", &child.id().to_string()]);
    });
    let titles = ["build `one` on `maker`", "build `two` on `maker`", "send 2 images from `maker`", "record what runs"];
    contains(&killed, &titles);
}

#[test]
fn agent() {
    let lab = slow("kill-agent");
    let killed = kill_at_each_step(&lab, &on_node, &|_| {
        lab.on_node("test", &["pkill", "-9", "-f", "lap agent run"]).ok();
    });
    contains(&killed, &ON_NODE);
}

#[test]
fn node() {
    let lab = slow("kill-node");
    let killed = kill_at_each_step(&lab, &on_node, &|_| {
        run("docker", &["kill", &lab.node("test")]).ok();
    });
    contains(&killed, &ON_NODE);
    // After a power cut everything comes back by itself, in the state it was in.
    run("docker", &["kill", &lab.node("test")]).ok();
    run("docker", &["start", &lab.node("test")]).ok();
    until_or(|| lab.lap(&["status"]).code == 0, || format!("{:?}", lab.lap(&["status"])));
}

/// Steps before the node's own are about making it; killing it then is killing lap.
fn on_node(title: &str) -> bool {
    !title.contains("node") && !title.contains("network") && !title.contains("root file system")
}

/// A key and a certificate are two files: whichever is not written yet, the next `up` makes a pair of them, and all else is as it should be.
#[test]
fn between_a_key_and_its_certificate() {
    let lab = Lab::tiny("kill-pair");
    lab.lap(&["up"]).ok();
    let node = |script: &str| lab.on_node("test", &["sh", "-c", script]);
    let pair = || {
        let dir = "/var/lib/lap/secrets/one";
        let said =
            node(&format!("openssl x509 -in {dir}/tls.crt -noout -pubkey && openssl pkey -in {dir}/tls.key -pubout"))
                .ok();
        let (certificate, key) = said.split_at(said.len() / 2);
        assert_eq!(certificate, key, "the key is another one's");
        certificate.to_owned()
    };
    let mut last = pair();
    for (nth, file) in ["tls.key", "tls.crt"].into_iter().enumerate() {
        for gone in [false, true] {
            if gone {
                node("rm /var/lib/lap/secrets/one/tls.crt").ok();
            } else {
                // Another name, so that there must be another certificate.
                let (from, to) =
                    (format!("one{}.internal", "x".repeat(nth)), format!("one{}.internal", "x".repeat(nth + 1)));
                lab.edit("containers/one/container.toml", &from, &to);
            }
            node(&format!("echo 'write {file}' >/run/lap/die-at")).ok();
            assert_ne!(lab.lap(&["up"]).code, 0, "killed before {file}");
            assert_ne!(node("test -e /run/lap/die-at").code, 0, "{file} was never reached");
            lab.lap(&["up"]).ok();
            lab.healthy();
            let now = pair();
            assert_ne!(now, last, "{file}");
            last = now;
        }
    }
    // As an earlier version may have left it.
    node("rm /var/lib/lap/secrets/one/tls.key").ok();
    assert!(lab.lap(&["up", "--dry-run"]).ok().contains("its key is missing"));
    lab.lap(&["up"]).ok();
    assert_ne!(pair(), last);
}
