//! Killed after each step, and in the middle of one.

use lap_base::{Error, Kind};

use super::*;
use crate::resolve::facts::ResolverInputs;

fn nothing(_: &[String]) -> Result<()> {
    Ok(())
}

/// The first `n` steps only.
fn begin(machine: &Machine, inputs: &ResolverInputs, n: usize) {
    let steps = machine.plan(inputs).unwrap().steps;
    apply(machine.root(), &steps[..n.min(steps.len())], &mut nothing).unwrap();
}

#[test]
fn an_install_killed_anywhere_is_finished_or_taken_back() {
    for (name, machine) in machines() {
        let steps = machine().plan(&install()).unwrap().steps.len();
        let (whole, before) = (machine(), machine().everything());
        let commands = whole.go(&install()).unwrap();
        for n in 0..steps {
            let again = machine();
            begin(&again, &install(), n);
            let ran = again.go(&install()).unwrap();
            assert_eq!(again.everything(), whole.everything(), "{name}: again after {n} steps");
            assert_eq!(ran, commands, "{name}: the files are read anew after {n} steps");
            again.go(&undo()).unwrap();
            assert_eq!(again.everything(), before, "{name}: there and back after {n} steps");

            let back = machine();
            begin(&back, &install(), n);
            back.go(&undo()).unwrap();
            assert_eq!(back.everything(), before, "{name}: undo after {n} steps");
        }
    }
}

#[test]
fn an_undo_killed_anywhere_is_finished_or_turned_round() {
    for (name, machine) in machines() {
        let (installed, before) = (machine(), machine().everything());
        let commands = installed.go(&install()).unwrap();
        let steps = installed.plan(&undo()).unwrap().steps.len();
        for n in 0..steps {
            let again = machine();
            again.go(&install()).unwrap();
            begin(&again, &undo(), n);
            assert_eq!(again.go(&undo()).unwrap().is_empty(), commands.is_empty(), "{name}: after {n} steps");
            assert_eq!(again.everything(), before, "{name}: undo again after {n} steps");

            let turned = machine();
            turned.go(&install()).unwrap();
            begin(&turned, &undo(), n);
            turned.go(&install()).unwrap();
            assert_eq!(turned.everything(), installed.everything(), "{name}: install after {n} steps of undo");
        }
    }
}

#[test]
fn a_change_of_servers_killed_anywhere_ends_clean() {
    let other = inputs(&[[10, 86, 9, 10]]);
    for (name, machine) in machines() {
        let (before, made) = (machine().everything(), machine());
        made.go(&install()).unwrap();
        for n in 0..made.plan(&other).unwrap().steps.len() {
            for last in [undo(), install(), other.clone()] {
                let machine = machine();
                machine.go(&install()).unwrap();
                begin(&machine, &other, n);
                machine.go(&last).unwrap();
                machine.go(&undo()).unwrap();
                assert_eq!(machine.everything(), before, "{name}: after {n} steps");
            }
        }
    }
}

#[test]
fn a_change_of_manager_killed_anywhere_ends_clean() {
    // systemd-resolved goes, a plain file comes.
    let changed = |machine: &Machine| {
        fs::remove_file(machine.root().join("etc/resolv.conf")).unwrap();
        machine.put("/etc/resolv.conf", "nameserver 192.0.2.1\n");
    };
    let make = || {
        let machine = Machine::resolved();
        machine.go(&install()).unwrap();
        changed(&machine);
        machine
    };
    let before = Machine::resolved();
    changed(&before);
    for n in 0..make().plan(&install()).unwrap().steps.len() {
        for last in [undo(), install()] {
            let machine = make();
            begin(&machine, &install(), n);
            machine.go(&last).unwrap();
            machine.go(&undo()).unwrap();
            assert_eq!(machine.everything(), before.everything(), "after {n} steps");
        }
    }
}

#[test]
fn half_a_file_written_in_place_is_made_whole() {
    let whole = Machine::plain();
    let before = whole.everything();
    whole.go(&install()).unwrap();
    let text = whole.get("/etc/resolv.conf").unwrap();
    for end in 0..text.len() {
        let machine = Machine::plain();
        begin(&machine, &install(), 1);
        machine.put("/etc/resolv.conf", &text[..end]);
        machine.go(&undo()).unwrap();
        assert_eq!(machine.everything(), before, "after {end} bytes");
    }
}

#[test]
fn what_a_killed_write_leaves_beside_a_file_goes() {
    let (machine, other) = (Machine::resolved(), Machine::resolved());
    let before = machine.everything();
    machine.go(&install()).unwrap();
    machine.put("/etc/docker/.daemon.json.lap-new", "half");
    machine.put("/etc/systemd/resolved.conf.d/.lap-office.conf.lap-new", "half");
    machine.put("/var/lib/lap-install/resolver/.office.json.lap-new", "half");
    machine.go(&undo()).unwrap();
    assert_eq!(machine.everything(), before);
    // Before the very first name: a file, or no more than its directories.
    other.put("/var/lib/lap-install/resolver/.office.json.lap-new", "half");
    other.go(&undo()).unwrap();
    assert_eq!(other.everything(), before);
    for dir in ["var/lib/lap-install", "var/lib/lap-install/resolver"] {
        fs::create_dir_all(other.root().join(dir)).unwrap();
        other.go(&undo()).unwrap();
        assert_eq!(other.everything(), before);
    }
    assert!(other.plan(&undo()).unwrap().steps.is_empty());
}

#[test]
fn a_command_that_fails_loses_nothing() {
    let machine = Machine::resolved();
    let before = machine.everything();
    let fail = |inputs: &ResolverInputs| {
        let steps = machine.plan(inputs).unwrap().steps;
        apply(machine.root(), &steps, &mut |_| Err(Error::new(Kind::Host, "cannot run it"))).unwrap_err()
    };
    let error = fail(&install());
    assert!(error.message == "cannot run it" && error.hints[0].contains("--undo"), "{error:?}");
    assert_eq!(machine.go(&install()).unwrap(), ["systemctl reload-or-restart systemd-resolved"]);
    let error = fail(&undo());
    assert!(error.hints[0].contains("are restored"), "{error:?}");
    assert_eq!(machine.everything(), before);
    assert_eq!(run_command(&["/nowhere/lap-test".into()]).unwrap_err().kind, Kind::Host);
    let error = run_command(&["sh".into(), "-c".into(), "echo why >&2; exit 3".into()]).unwrap_err();
    assert!(error.message.contains("why"), "{error}");
}

#[test]
fn a_file_that_changes_between_plan_and_apply_stays() {
    let machine = Machine::plain();
    let steps = machine.plan(&install()).unwrap().steps;
    machine.put("/etc/resolv.conf", "nameserver 192.0.2.7\n");
    let error = apply(machine.root(), &steps, &mut nothing).unwrap_err();
    assert!(error.kind == Kind::Refused && error.message.contains("at the same time"), "{error}");
    machine.go(&undo()).unwrap();
    assert_eq!(machine.get("/etc/resolv.conf").unwrap(), "nameserver 192.0.2.7\n");
}
