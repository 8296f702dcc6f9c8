//! Somebody else changed a file since.

use lap_base::Kind;

use super::*;

/// Installs, lets `change` have the file, and undoes.
fn after(machine: Machine, path: &str, change: impl Fn(String) -> String) -> (Machine, Result<Vec<String>>) {
    machine.go(&install()).unwrap();
    machine.put(path, &change(machine.get(path).unwrap()));
    let result = machine.go(&undo());
    (machine, result)
}

#[test]
fn lines_of_others_stay() {
    let (machine, result) =
        after(Machine::plain(), "/etc/resolv.conf", |t| format!("# mine\n{t}\nnameserver 192.0.2.3\n"));
    result.unwrap();
    let text =
        "# mine\nsearch example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:1\nnameserver 192.0.2.3\n";
    assert_eq!(machine.get("/etc/resolv.conf").unwrap(), text);

    // Somebody took a line away that was there before: that is not ours to bring back.
    let (machine, result) = after(Machine::plain(), "/etc/resolv.conf", |t| t.replace("\noptions ndots:1", ""));
    result.unwrap();
    assert!(!machine.get("/etc/resolv.conf").unwrap().contains("options"));

    let (machine, result) = after(Machine::resolved(), DROP_IN, |t| format!("{t}DNSSEC=no\n"));
    result.unwrap();
    assert_eq!(machine.get(DROP_IN).unwrap(), "DNSSEC=no\n");
}

#[test]
fn a_file_written_anew_or_removed_is_left_alone() {
    let (machine, result) = after(Machine::plain(), "/etc/resolv.conf", |_| "nameserver 192.0.2.9\n".into());
    result.unwrap();
    assert_eq!(machine.get("/etc/resolv.conf").unwrap(), "nameserver 192.0.2.9\n");
    assert_eq!(machine.get(RECORD), None);

    let machine = Machine::resolved();
    machine.go(&install()).unwrap();
    fs::remove_file(machine.root().join("etc/docker/daemon.json")).unwrap();
    machine.go(&undo()).unwrap();
    assert_eq!(machine.get(DAEMON), None);
    // And an install after somebody else's change puts ours into theirs, to be taken back to theirs.
    let machine = Machine::plain();
    machine.go(&install()).unwrap();
    machine.put("/etc/resolv.conf", "nameserver 192.0.2.9");
    machine.go(&install()).unwrap();
    assert!(machine.get("/etc/resolv.conf").unwrap().ends_with("end\nnameserver 192.0.2.9"));
    machine.go(&undo()).unwrap();
    assert_eq!(machine.get("/etc/resolv.conf").unwrap(), "nameserver 192.0.2.9");
}

#[test]
fn a_mode_that_others_gave_stays() {
    let machine = Machine::plain();
    machine.go(&install()).unwrap();
    machine.mode("/etc/resolv.conf", 0o600);
    machine.go(&undo()).unwrap();
    assert_eq!(machine.everything()["etc/resolv.conf"].1 & 0o777, 0o600);
}

#[test]
fn what_is_not_clear_is_left_and_said() {
    type Change = fn(String) -> String;
    let changes: [Change; 3] = [
        |t| t.replace("nameserver 10.86.1.10", "nameserver 10.86.1.99"),
        |t| t.replace("# lap office: end\n", ""),
        |t| format!("{t}\n{t}"),
    ];
    for change in changes {
        let (machine, result) = after(Machine::plain(), "/etc/resolv.conf", change);
        let error = result.unwrap_err();
        assert!(error.kind == Kind::Refused && error.hints[0].contains("`lap office: begin`"), "{error:?}");
        assert!(machine.get(RECORD).is_some(), "what was before is not lost");
        // By hand, as it says; then it ends.
        machine.put("/etc/resolv.conf", "nameserver 192.0.2.1\n");
        machine.go(&undo()).unwrap();
        assert_eq!(
            (machine.get("/etc/resolv.conf").unwrap().as_str(), machine.get(RECORD)),
            ("nameserver 192.0.2.1\n", None)
        );
    }
}

#[test]
fn keys_of_others_in_daemon_json_stay() {
    let add = |t: String| t.replace("{\n", "{\n\t\"debug\": true,\n");
    let (machine, result) = after(Machine::resolved(), DAEMON, add);
    result.unwrap();
    assert_eq!(
        machine.get(DAEMON).unwrap(),
        "{\n\t\"debug\": true,\n\t\"log-driver\": \"local\",\n\t\"data-root\" : \"/srv/{docker}\"}"
    );
    // There was none before, and now only theirs is left.
    let (machine, result) = after(Machine::dnsmasq(), DAEMON, add);
    result.unwrap();
    assert_eq!(machine.get(DAEMON).unwrap(), "{\n\t\"debug\": true\n}\n");
    // Another list, without ours: theirs. With one of ours: not clear.
    let (machine, result) = after(Machine::resolved(), DAEMON, |_| "{\"dns\": [\"192.0.2.4\"]}".into());
    result.unwrap();
    assert_eq!(machine.get(DAEMON).unwrap(), "{\"dns\": [\"192.0.2.4\"]}");
    let (machine, result) = after(Machine::resolved(), DAEMON, |_| "{\"dns\": [\"10.86.1.10\"]}".into());
    assert!(result.unwrap_err().hints[0].contains("remove the key `dns` by hand"));
    assert_eq!(machine.get(DAEMON).unwrap(), "{\"dns\": [\"10.86.1.10\"]}");
    let (_, result) = after(Machine::resolved(), DAEMON, |t| format!("{t},"));
    assert!(result.unwrap_err().hints[0].contains("not a JSON object"));
}

#[test]
fn without_its_record_lap_knows_its_own_lines() {
    for (name, machine) in machines() {
        let machine = machine();
        let before = machine.everything();
        machine.go(&install()).unwrap();
        fs::remove_dir_all(machine.root().join("var/lib/lap-install")).unwrap();
        machine.go(&undo()).unwrap();
        // All but `dns` of daemon.json, which nothing marks, and directories that nobody says are ours.
        let files = |all: BTreeMap<String, (String, u32, u32, Vec<u8>)>| -> Vec<_> {
            all.into_iter().filter(|(p, v)| v.0 != "dir" && !p.starts_with("etc/docker")).collect()
        };
        assert_eq!(files(machine.everything()), files(before), "{name}");
        assert!(machine.plan(&undo()).unwrap().steps.is_empty(), "{name}");
    }
}
