//! Tests with a full disk: updates that cannot be stored are not acknowledged, everything else works, and no restart is
//! necessary.

use std::{fs, path::PathBuf};

use super::{
    Program,
    packet::{A, TXT, Update},
    small,
};

/// Makes a server whose `data`, `state` and log are on a file system of one megabyte that only this process sees.
fn on_a_small_disk() -> Program {
    let mut program = Program::new(&small());
    let script = format!(
        "mount -t tmpfs -o size=1m none {data} && mkdir {data}/data {data}/state && \
         exec \"$0\" \"$@\" 2>>{data}/log",
        data = program.path("disk").display()
    );
    fs::create_dir(program.path("disk")).unwrap();
    for sub in ["data", "state"] {
        fs::remove_dir(program.path(sub)).unwrap();
        std::os::unix::fs::symlink(program.path("disk").join(sub), program.path(sub)).unwrap();
    }
    program.wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", &script].map(Into::into).into();
    program
}

/// Returns the path of a file as the process sees it.
fn seen(program: &Program, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", program.pid(), program.path("disk").join(name).display()))
}

fn add(n: u8) -> Update {
    // The text needs a block of its own.
    let text = [&[255][..], &[b'x'; 255]].concat().repeat(20);
    let name = format!("n{n}.pc.internal");
    Update::of("internal").add(&name, A, 60, &[10, 0, 0, n]).add(&name, TXT, 60, &text)
}

#[test]
fn with_a_full_disk_only_updates_are_refused() {
    let mut program = on_a_small_disk();
    program.run();
    assert_eq!(program.update(&add(1)), 0);
    let serial = program.serial();
    let full = fs::write(seen(&program, "ballast"), vec![0; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    for _ in 0..3 {
        assert_eq!(program.update(&add(2)), 2, "SERVFAIL");
        assert_eq!((program.ask("n2.pc.internal", A).0, program.serial()), (3, serial), "nothing was changed");
    }
    assert_eq!(program.ask("n1.pc.internal", A).1, ["60 10.0.0.1"], "questions are answered");
    assert!(!seen(&program, "data/names.journal.new").exists(), "no incomplete file takes space");
    fs::remove_file(seen(&program, "ballast")).unwrap();
    assert_eq!(program.update(&add(2)), 0, "there is space again");
    assert_eq!(program.update(&add(3)), 0);
    let journal = fs::read(seen(&program, "data/names.journal")).unwrap();
    program.kill();

    // The journal contains what was acknowledged, and another server can read it.
    let mut other = Program::new(&small());
    fs::write(other.path("data/names.journal"), &journal).unwrap();
    other.run();
    let there: Vec<u8> = (1..=4).map(|n| other.ask(&format!("n{n}.pc.internal"), A).0).collect();
    assert_eq!(there, [0, 0, 0, 3]);
    assert!(!other.log().contains("damaged"), "{}", other.log());
}

/// A server that was killed on a full disk and has an incomplete journal answers as soon as it starts.
#[test]
fn a_server_starts_on_a_full_disk() {
    let mut program = Program::start(&small());
    assert_eq!(program.update(&add(1)), 0);
    program.kill();
    let mut journal = fs::read(program.path("data/names.journal")).unwrap();
    journal.extend_from_slice(b"\0\0\0\x20half");
    fs::write(program.path("kept"), &journal).unwrap();

    let kept = program.path("kept").display().to_string();
    let mut full = on_a_small_disk();
    let script = full.wrapper.last_mut().unwrap();
    let disk = full.dir.path().join("disk").display().to_string();
    let fill = format!("cp {kept} {disk}/data/names.journal; head -c 2m /dev/zero >{disk}/ballast; exec");
    *script = script.replace("exec", &fill);
    full.run();
    assert_eq!(full.ask("n1.pc.internal", A).1, ["60 10.0.0.1"], "registered names are answered");
    assert_eq!(full.update(&add(2)), 2, "SERVFAIL");
    assert_eq!(fs::read(seen(&full, "data/names.journal.damaged")).unwrap(), journal, "the damaged file is kept");
    fs::remove_file(seen(&full, "ballast")).unwrap();
    assert_eq!(full.update(&add(2)), 0);
    let whole = fs::read(seen(&full, "data/names.journal")).unwrap();
    assert!(!whole.ends_with(b"half") && whole.len() > journal.len());
}
