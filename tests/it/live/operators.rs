//! Two operators, one node: who holds the lock is known, waited for, and refused when its time is over.

use std::{io::Read, process::Child};

use super::lab::{Lab, run, until};

fn signal(child: &Child, name: &str) {
    run("kill", &["-s", name, &child.id().to_string()]).ok();
}

fn end(mut child: Child) -> (i32, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), said)
}

#[test]
fn lock_and_fence() {
    let lab = Lab::tiny("operators");
    lab.lap(&["up"]).ok();

    // The first operator's machine falls asleep in the middle.
    let asleep = lab.watch(&["restart"], |_, child| {
        signal(child, "STOP");
        false
    });
    let said = lab.lap(&["restart"]).fails(8);
    assert!(said.contains("`test` is locked: `") && said.contains("holds it for `lap restart`"), "{said}");
    assert!(said.contains("--wait"), "{said}");
    let status = lab.lap(&["status"]);
    assert!(status.out.contains("locked by "), "{status:?}");

    // The second waits: within the keep-alive's patience the lock is free.
    let mut second = lab.command(&["restart", "--wait"]).spawn().unwrap();
    let mut ended = None;
    until("the lock is free", || {
        ended = second.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}");
    lab.healthy();
    let ids = || lab.on_node("test", &["docker", "ps", "--quiet", "--no-trunc"]).ok();
    let before = ids();

    // The first wakes up: it is refused, and changes nothing any more.
    signal(&asleep, "CONT");
    let (code, said) = end(asleep);
    assert_eq!(code, 8, "{said}");
    assert!(said.contains("lost"), "{said}");
    assert_eq!(ids(), before);
    lab.healthy();
}

#[test]
fn interrupted() {
    let lab = Lab::tiny("interrupted");
    // Long enough that the signal meets it.
    lab.edit("containers/one/Dockerfile", "COPY say /say\n", "COPY say /say\nRUN sleep 4\n");
    lab.commit();
    let child = lab.watch(&["up"], |title, child| {
        if title == "build `one`" {
            signal(child, "INT");
            return false;
        }
        true
    });
    let (code, said) = end(child);
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("steps are done") && said.contains("left build `two`"), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    lab.lap(&["up"]).ok();
    lab.healthy();
}

#[test]
fn keys_of_another_lab() {
    let lab = Lab::tiny("keys");
    lab.lap(&["up"]).ok();
    // A node that shows another host key is not spoken to.
    let host_key = lab.root.join(".lap/keys/hosts/test");
    let kept = std::fs::read(&host_key).unwrap();
    std::fs::remove_file(&host_key).unwrap();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", host_key.to_str().unwrap()]).ok();
    std::fs::remove_file(lab.root.join(".lap/keys/hosts/test.pub")).unwrap();
    let said = lab.lap(&["status"]).fails(9);
    assert!(said.contains("has another host key than the one lap gave it"), "{said}");
    std::fs::write(&host_key, kept).unwrap();
    lab.healthy();

    // A moved workspace with its keys finds its lab again; a colleague takes them over with a passphrase.
    let file = lab.root.join(".lap/pass");
    std::fs::write(&file, "correct horse battery\n").unwrap();
    let export = lab.root.join(".lap/export.age");
    let pass = ["--passphrase-file", file.to_str().unwrap()];
    lab.lap(&["keys", "export", export.to_str().unwrap(), pass[0], pass[1]]).ok();
    let other = tempfile::tempdir().unwrap();
    for part in ["lap.toml", "nodes", "containers", "env"] {
        run("cp", &["-r", lab.root.join(part).to_str().unwrap(), other.path().to_str().unwrap()]).ok();
    }
    let there = |arguments: &[&str]| {
        let mut all = vec!["-C", other.path().to_str().unwrap()];
        all.extend(arguments);
        lab.lap(&all)
    };
    there(&["status"]).fails(9);
    there(&["keys", "import", export.to_str().unwrap(), pass[0], pass[1]]).ok();
    there(&["status"]).ok();

    // An operator's key in lap.toml lets them in.
    let key = lab.root.join(".lap/anna");
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f", key.to_str().unwrap()]).ok();
    let public = std::fs::read_to_string(lab.root.join(".lap/anna.pub")).unwrap();
    lab.write("lap.toml", &format!("lab = \"tiny\"\n[operators]\nanna = \"{}\"\n", public.trim()));
    lab.lap(&["up"]).ok();
    let known = format!("UserKnownHostsFile={}", lab.root.join(".lap/known_hosts").display());
    let node = format!("root@{}", lab.address("test"));
    let arguments = [
        "-F",
        "none",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        &known,
        "-i",
        key.to_str().unwrap(),
        &node,
    ];
    run("ssh", &[&arguments[..], &["true"]].concat()).ok();
}

/// A person who operates the lab: their key, and whether a node lets it in.
struct Person<'a> {
    lab: &'a Lab,
    key: std::path::PathBuf,
    public: String,
}

impl<'a> Person<'a> {
    fn new(lab: &'a Lab, name: &str) -> Self {
        let key = lab.root.join(".lap").join(name);
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key.to_str().unwrap()]).ok();
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap().trim().to_owned();
        Self { lab, key, public }
    }

    fn enters(&self, node: &str) -> bool {
        let known = format!("UserKnownHostsFile={}", self.lab.root.join(".lap/known_hosts").display());
        let address = format!("root@{}", self.lab.address(node));
        let key = self.key.to_str().unwrap();
        let options = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", &known, "-i", key];
        run("ssh", &[&options[..], &[&address, "true"]].concat()).code == 0
    }
}

#[test]
fn a_removed_operator_is_named_until_every_environment_is_closed() {
    let lab = Lab::two_environments("removed");
    let anna = Person::new(&lab, "anna");
    let without = std::fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    let with = format!("{without}[operators]\nanna = \"{}\"\n", anna.public);
    lab.write("lap.toml", &with);
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    assert!(anna.enters("test") && anna.enters("prod"));
    lab.lap(&["status"]).ok();

    // Removed, and test is closed: prod is not, and everything that looks says so.
    lab.write("lap.toml", &without);
    lab.commit();
    let up = lab.lap(&["up"]);
    assert!(up.code == 0 && up.err.contains("`prod` still admits `anna` (SHA256:"), "{up:?}");
    assert!(up.err.contains("run `lap up --all` to remove the access"), "{up:?}");
    assert!(!anna.enters("test") && anna.enters("prod"));
    for arguments in [&["status"][..], &["status", "prod"]] {
        let said = lab.lap(arguments).fails(7);
        assert!(said.contains("`prod` still admits `anna` (SHA256:") && said.contains("`lap up --all`"), "{said}");
    }
    let said = lab.lap(&["promote", "--dry-run"]).ok();
    assert!(said.contains("`prod` still admits `anna` (SHA256:"), "{said}");

    // All of it is closed, though prod runs a release of a commit that has the key.
    let up = lab.lap(&["up", "--all"]);
    assert!(up.code == 0 && !up.err.contains("still admits"), "{up:?}");
    assert!(!anna.enters("prod"));
    lab.lap(&["status"]).ok();
    lab.lap(&["status", "prod"]).ok();

    // The promotion of a commit that still has the key does not let it in again.
    lab.write("lap.toml", &with);
    lab.write("containers/two/Dockerfile", "FROM infra/one\nRUN echo two, second > /say\n");
    lab.commit();
    lab.lap(&["up"]).ok();
    assert!(anna.enters("test"));
    lab.write("lap.toml", &without);
    lab.commit();
    lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    assert_eq!(lab.on_node("prod", &["docker", "exec", "infra_two", "cat", "/say"]).ok().trim(), "two, second");
    assert!(!anna.enters("prod"), "the commit's lap.toml has no say in who operates production");
}
