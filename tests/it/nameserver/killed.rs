//! Acknowledged updates survive `kill -9` at any moment.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use super::{
    Program,
    packet::{A, Update, connect, read, write},
    small,
};

/// Several clients register names until the server is killed. The acknowledged names are recorded.
fn flood(program: &Program, acknowledged: &Mutex<BTreeSet<u32>>, next: &AtomicU32, kill_after: u32, pid: i32) {
    let (server, key, done): (SocketAddr, _, _) = (program.address, program.key(), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            let (key, done) = (key.clone(), &done);
            scope.spawn(move || {
                let mut stream = connect(server);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let update = Update::of("internal").add(&name(n), A, 60, &n.to_be_bytes());
                    let (bytes, mac) = key.sign(&update.bytes());
                    let framed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write(&mut stream, &bytes)));
                    let Some(reply) = framed.ok().and_then(|()| read(&mut stream)) else { return };
                    assert!(key.verify(&reply, &mac).is_ok());
                    assert_eq!(reply[3] & 15, 0);
                    acknowledged.lock().unwrap().insert(n);
                    if done.fetch_add(1, Ordering::Relaxed) == kill_after {
                        let pid = nix::unistd::Pid::from_raw(pid);
                        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
                    }
                }
            });
        }
    });
}

fn name(n: u32) -> String {
    format!("n{n}.pc.internal")
}

#[test]
fn no_acknowledged_update_is_lost() {
    let mut program = Program::start(&small());
    let (acknowledged, next) = (Mutex::new(BTreeSet::new()), AtomicU32::new(0));
    let mut serial = program.serial();
    for kill_after in [0, 50, 777, 3000, 6173] {
        flood(&program, &acknowledged, &next, kill_after, program.pid());
        program.kill();
        program.run();
        assert!(program.serial() > serial, "the serial went from {serial} to {}", program.serial());
        serial = program.serial();
        let parts = super::packet::transfer(program.address, &program.key(), "internal", None);
        let there: BTreeSet<String> =
            parts.iter().flat_map(|p| &p.answers).map(|r| format!("{} {}", r.name, r.data)).collect();
        let acknowledged = acknowledged.lock().unwrap();
        for n in acknowledged.iter() {
            let [a, b, c, d] = n.to_be_bytes();
            assert!(
                there.contains(&format!("{}. {a}.{b}.{c}.{d}", name(*n))),
                "{} of {}",
                name(*n),
                acknowledged.len()
            );
        }
        // In addition, at most the updates in progress of each client are there.
        let names = there.iter().filter(|r| r.contains(".pc.internal. ")).count();
        assert!(names <= acknowledged.len() + 4 * 5, "{names} names, {} acknowledged", acknowledged.len());
    }
    assert!(acknowledged.lock().unwrap().len() >= 10_000);
    assert!(!program.log().contains("damaged"), "a kill alone leaves a complete journal:\n{}", program.log());
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let mut program = Program::start(&small());
    let mut second = Program::new(&small());
    std::fs::remove_dir(second.path("data")).unwrap();
    std::os::unix::fs::symlink(program.path("data"), second.path("data")).unwrap();
    let output = super::output(&mut second.command());
    assert!(output.contains("another name server uses it"), "{output}");
    let mut third = Program::new(&small());
    third.address = program.address;
    let output = super::output(&mut third.command());
    assert!(output.contains("cannot listen on") && output.contains("another name server may use it"), "{output}");
    // The first server is not affected.
    assert_eq!(program.update(&Update::of("internal").add("a.pc.internal", A, 60, &[10, 0, 0, 1])), 0);
    program.kill();
    second.run();
    assert_eq!(second.ask("a.pc.internal", A).1, ["60 10.0.0.1"], "the data is no longer in use");
}
