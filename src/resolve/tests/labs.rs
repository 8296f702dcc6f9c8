//! Several labs, and several versions of lap.

use lap_base::Kind;

use super::*;
use crate::resolve::facts::ResolverInputs;

fn home() -> ResolverInputs {
    ResolverInputs { lab: "home".into(), zone: "home.example".into(), ..inputs(&[[10, 86, 2, 10]]) }
}

#[test]
fn two_labs_where_servers_go_by_domain() {
    let machine = Machine::dnsmasq();
    let before = machine.everything();
    machine.go(&install()).unwrap();
    let one = machine.everything();
    let plan = machine.plan(&home()).unwrap();
    assert!(plan.notes.iter().any(|n| n.contains("containers use the lab `office`")), "{:?}", plan.notes);
    machine.go(&home()).unwrap();
    let two = machine.everything();
    assert!(machine.plan(&install()).unwrap().steps.is_empty() && machine.plan(&home()).unwrap().steps.is_empty());
    machine.go(&ResolverInputs { undo: true, ..home() }).unwrap();
    assert_eq!(machine.everything(), one);
    // The other way round: the directory both use goes with the last.
    machine.go(&home()).unwrap();
    assert_eq!(machine.everything(), two);
    machine.go(&undo()).unwrap();
    assert!(machine.get("/etc/NetworkManager/dnsmasq.d/lap-home.conf").is_some());
    machine.go(&ResolverInputs { undo: true, ..home() }).unwrap();
    let left: Vec<_> = machine.everything().into_keys().filter(|path| !before.contains_key(path)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_labs_elsewhere_are_refused() {
    for (name, machine) in machines() {
        let machine = machine();
        machine.go(&install()).unwrap();
        let after = machine.everything();
        let same = ResolverInputs { zone: "internal".into(), ..home() };
        let error = machine.plan(&same).unwrap_err();
        assert!(
            error.kind == Kind::Refused && error.message.contains("with the same zone `internal`"),
            "{name}: {error}"
        );
        assert_eq!(error.hints, ["run `lap --lab office dns install --undo` first"]);
        if name != "dnsmasq" {
            let error = machine.plan(&home()).unwrap_err();
            assert!(error.message.contains("can use only one lab"), "{name}: {error}");
        }
        assert_eq!(machine.everything(), after);
        machine.go(&undo()).unwrap();
        machine.go(&home()).unwrap();
    }
}

#[test]
fn records_of_other_versions() {
    let machine = Machine::plain();
    machine.go(&install()).unwrap();
    let text = machine.get(RECORD).unwrap();
    // A later lap may add keys without harm,
    machine.put(RECORD, &text.replacen('{', "{\n  \"later\": {\"x\": [1]},", 1));
    machine.go(&undo()).unwrap();
    assert_eq!(machine.everything().get("etc/resolv.conf"), Machine::plain().everything().get("etc/resolv.conf"));
    // but another format is not guessed at.
    machine.go(&install()).unwrap();
    machine.put(RECORD, &text.replacen("\"format\": 1", "\"format\": 2", 1));
    for inputs in [install(), undo()] {
        let error = machine.plan(&inputs).unwrap_err();
        assert!(error.kind == Kind::Refused && error.message.contains("a newer lap"), "{error}");
    }
    machine.put(RECORD, "{");
    assert!(machine.plan(&undo()).unwrap_err().message.contains("is not a record of lap"));
}
