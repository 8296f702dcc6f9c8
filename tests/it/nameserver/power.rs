//! Power cuts below the name server: what it acknowledged is there, and no serial is given twice.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    Program,
    packet::{A, TXT, Update},
    small,
};
use crate::power::{Campaign, Notes, on_each};

/// With its directories in the pool, as on a node.
fn program(pool: &Path) -> Program {
    let program = Program::new(&small());
    for (sub, place) in [("data", "data/dns"), ("state", "state/dns")] {
        fs::remove_dir(program.path(sub)).unwrap();
        symlink(pool.join(place), program.path(sub)).unwrap();
    }
    program
}

fn name(n: u32) -> String {
    format!("n{n}.pc.internal")
}

/// Long enough that the journal is rewritten on the way.
fn add(n: u32) -> Update {
    let text = [&[255][..], &[b'x'; 255]].concat().repeat(30);
    let text = [&text[..], &[4], &n.to_be_bytes()].concat();
    let update = Update::of("internal").add(&name(n), A, 60, &n.to_be_bytes());
    (0..6)
        .map(|k| format!("t{k}.pc.internal"))
        .fold(update, |update, other| update.remove_all(&other, TXT).add(&other, TXT, 60, &text))
}

fn prepare(pool: &Path) {
    for place in ["data/dns", "state/dns"] {
        fs::create_dir_all(pool.join(place)).unwrap();
    }
}

/// How many names were acknowledged, and the serial after them.
type Acknowledged = (u32, u32);

fn run(pool: &Path, notes: &Notes<Acknowledged>) {
    let mut program = program(pool);
    program.run();
    for n in 0..180 {
        assert_eq!(program.update(&add(n)), 0);
        let serial = program.serial();
        notes.note((n + 1, serial));
        if n == 60 {
            program.stop();
            program.run();
        }
    }
    program.kill();
}

fn check(pool: &Path, notes: &[Acknowledged]) -> Result<(), String> {
    let (count, mut serial) = notes.last().copied().unwrap_or_default();
    let mut program = program(pool);
    for start in 1..=2 {
        program.run();
        for n in (0..count).rev().step_by(7) {
            let [a, b, c, d] = n.to_be_bytes();
            let (code, said) = program.ask(&name(n), A);
            if said != [format!("60 {a}.{b}.{c}.{d}")] {
                return Err(format!("start {start}: {} of {count}: code {code}, {said:?}\n{}", name(n), program.log()));
            }
        }
        let (next, beyond) = (program.ask(&name(count), A).0, program.ask(&name(count + 1), A).0);
        let now = program.serial();
        // A server that ended in peace goes on with its serial: then the records are those that had it.
        let is_new = now > serial || now == serial && next == 3;
        if beyond != 3 || !is_new {
            return Err(format!(
                "start {start}: code {beyond} for one that was not sent, serial {now} after {serial}, code {next} for the next one"
            ));
        }
        serial = now;
        program.kill();
    }
    Ok(())
}

#[test]
fn no_acknowledged_update_is_lost_at_a_power_cut() {
    on_each(|filesystem| {
        Campaign {
            name: "dns",
            filesystem,
            busy: &["data/dns"],
            prepare: &prepare,
            run: &run,
            recover: None,
            check: &check,
        }
        .play();
    });
}
