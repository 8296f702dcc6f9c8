//! `lap doctor --conformance` on real nodes: all scenarios pass, and nothing of them is left, however it ends.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    lab::{Lab, Ran, run, stripped},
    plain::Plain,
    working::Working,
};

/// Where its workspaces are.
fn room(name: &str) -> PathBuf {
    let home = std::env::var("HOME").unwrap();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    PathBuf::from(cache).join("lap/conformance").join(name)
}

/// Everything that this machine's Docker has of a lab of this name.
fn left(name: &str) -> String {
    let filter = format!("name=^/?lap-{name}(-|$)");
    let mut all = String::new();
    for what in [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q"]] {
        let arguments: Vec<&str> = what.iter().copied().chain(["--filter", &filter]).collect();
        all += &run("docker", &arguments).ok();
    }
    all
}

fn command(name: &str, arguments: &[&str]) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_lap")), name, arguments)
}

fn command_of(binary: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    // Not in a workspace: it needs none.
    command.args(["--lab", name, "doctor", "--conformance"]).args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

/// Runs it, and checks that every scenario passed.
fn passes(name: &str, command: &mut Command) {
    let ran = Ran::of(&command.output().unwrap());
    eprintln!("{}", ran.out);
    let said = ran.ok();
    assert_eq!(said.lines().filter(|line| line.contains("  passed  ")).count(), 12, "{said}");
    assert!(!room(name).exists());
    assert_eq!(left(name), "");
}

#[test]
fn every_scenario_passes_on_docker() {
    let lab = Lab::tiny("conformance");
    let name = format!("{}-own", lab.name);
    passes(&name, &mut command(&name, &["--provider", "docker"]));

    // A lab that somebody has is refused, and stays.
    lab.lap(&["up"]).ok();
    let said = Ran::of(&command(&lab.name, &[]).output().unwrap()).fails(10);
    assert!(
        said.contains(&format!("this machine has a lab `{}` already: lap changed nothing in it", lab.name)),
        "{said}"
    );
    assert!(!room(&lab.name).exists());
    lab.healthy();
    assert!(Ran::of(&command("No Name", &[]).output().unwrap()).fails(2).contains("the lab cannot have this name"));
}

#[test]
fn nothing_is_left_of_one_that_is_stopped_or_killed() {
    let lab = Lab::tiny("stopped");
    let name = format!("{}-own", lab.name);
    for (signal, until) in [("INT", "boot"), ("TERM", "names"), ("KILL", "address"), ("INT", "address")] {
        let mut working = Working::spawn(&mut command(&name, &["--progress", "json"]));
        working.until_step(&format!("{until} on"));
        // Nobody else may meanwhile.
        assert!(Ran::of(&command(&name, &[]).output().unwrap()).fails(8).contains("another run uses the lab"));
        run("kill", &["-s", signal, &working.id().to_string()]).ok();
        let ended = working.end();
        if signal == "KILL" {
            assert!(room(&name).exists(), "the next one sees what was left");
            // What was under way ends by itself; the room is taken until then.
            run("flock", &[&format!("{}.lock", room(&name).display()), "true"]).ok();
            continue;
        }
        assert_eq!(ended.code, 130, "{signal}: {ended:?}");
        assert!(!room(&name).exists());
        assert_eq!(left(&name), "");
    }
}

#[test]
#[ignore = "boots a machine several times: `VM=1 scripts/test` runs it last"]
fn every_scenario_passes_on_libvirt() {
    let lab = Lab::tiny("libvirt");
    let name = format!("{}-own", lab.name);
    let dir = tempfile::tempdir().unwrap();
    passes(&name, &mut command_of(&stripped(dir.path()), &name, &["--provider", "libvirt"]));
    let virsh =
        |arguments: &[&str]| run("virsh", &[&["--quiet", "--connect", "qemu:///system"], arguments].concat()).ok();
    for question in [&["list", "--all", "--name"][..], &["vol-list", "lap"], &["net-list", "--all", "--name"]] {
        let said = virsh(question);
        assert!(!said.contains(&name), "{said}");
    }
    assert!(!PathBuf::from("/var/lib/lap").join(&name).exists());
}

#[test]
#[ignore = "boots a machine several times: `VM=1 scripts/test` runs it last"]
fn every_scenario_passes_on_a_machine_that_exists() {
    let lab = Lab::tiny("exists");
    let name = format!("{}-own", lab.name);
    let machine = Plain::boot(&lab);
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--provider", "ssh", "--machine", Plain::DESTINATION, "--may-restart"];
    let mut command = command_of(&stripped(dir.path()), &name, &arguments);
    machine.with(&mut command);
    passes(&name, &mut command);
    // Its own way in is as it was, and what is the distribution's stays.
    assert_eq!(machine.ssh(&["hostname"]).as_deref(), Some("plain\n"));
    assert!(machine.ssh(&["test", "-e", "/usr/bin/btrfs"]).is_some());
    assert_eq!(machine.ssh(&["sudo", "docker", "ps", "--all", "--quiet"]).as_deref(), Some(""));
}
