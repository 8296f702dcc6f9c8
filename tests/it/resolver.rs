//! `lap dns install` for real: a machine of its own by namespaces (unshare(1)), its own /etc, /run, /var/lib and network, with
//! resolv.conf a mount point as in Docker's containers; `lap dns serve` on port 53, and glibc asks.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Output},
};

use crate::workspace::Workspace;

/// `$1`: the directory of the machine; `$2`: lap; `$3`: the workspace.
const SCRIPT: &str = r#"
set -eu
touch "$1/resolv.conf" "$1/etc/resolv.conf"
for dir in etc run var/lib; do mount --bind "$1/$dir" "/$dir"; done
mount --bind "$1/resolv.conf" /etc/resolv.conf
ip link set lo up
"$2" dns serve --config "$1/names" --listen 127.0.0.1 >"$1/server.log" 2>&1 &
server=$!
# However this ends: who waits for its output must not wait for the server's, too.
trap 'kill "$server"' EXIT
for n in $(seq 600); do "$2" dns query --server 127.0.0.1 ns.internal >/dev/null 2>&1 && break; sleep 0.1; done
says() { echo "[$1]"; getent hosts git.internal || echo "no such name"; }
says before
"$2" -C "$3" dns install --dry-run --server 127.0.0.1 | grep -c nameserver
"$2" -C "$3" dns install --server 127.0.0.1
says installed
cat /etc/resolv.conf
"$2" -C "$3" dns install --server 127.0.0.1 | head -1
"$2" -C "$3" dns install --undo
"$2" -C "$3" dns install --undo
says undone
"#;

fn namespaced(words: &[&str]) -> Option<Output> {
    let unshare = ["--mount", "--net", "--propagation", "private", "--"];
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    Command::new("unshare").args(unshare).args(words).env_clear().env("PATH", path).env("HOME", "/root").output().ok()
}

#[test]
fn this_machine_resolves_the_labs_names_and_no_longer() {
    let possible = namespaced(&["sh", "-c", "command -v ip getent mount && mount --bind /tmp /run"]);
    if !possible.is_some_and(|output| output.status.success()) {
        eprintln!("skipped: it takes root, unshare, ip and getent");
        return;
    }
    let here = fs::read("/etc/resolv.conf").ok();
    let office = Workspace::small();
    let machine = office.path("machine");
    for (path, text) in [
        ("etc/nsswitch.conf", "hosts: files dns\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("resolv.conf", "# of the office\nnameserver 127.0.0.9\noptions timeout:30 attempts:2"),
        ("run/x", ""),
        ("var/lib/x", ""),
        (
            "names/names.json",
            r#"{"zone":"internal.","server":"ns.internal.","server_address":"127.0.0.1",
                "hosts":[["git.internal.","192.0.2.7"]],"upstreams":[]}"#,
        ),
    ] {
        let path = machine.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let file = machine.join("resolv.conf");
    let state = |path: &Path| (fs::read_to_string(path).unwrap(), path.metadata().unwrap().mode());
    let (before, inode) = (state(&file), file.metadata().unwrap().ino());

    let paths = [machine.clone(), env!("CARGO_BIN_EXE_lap").into(), office.root()];
    let [machine_path, lap, workspace] = paths.each_ref().map(|path| path.to_str().unwrap());
    let output = namespaced(&["sh", "-c", SCRIPT, "sh", machine_path, lap, workspace]).unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = said.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{said}\n{wrong}");
    for part in [
        "[before] no such name 1",
        "`ns.internal` is 127.0.0.1: this machine resolves the lab's names.",
        "[installed] 192.0.2.7 git.internal # lap office: begin",
        "nameserver 127.0.0.1 # lap office: end # of the office nameserver 127.0.0.9 options timeout:30 attempts:2Nothing to do.",
        "Done. The former state is restored. Nothing to do. [undone] no such name",
    ] {
        assert!(said.contains(part), "{part}\n\n{said}\n{wrong}");
    }
    assert_eq!(state(&file), before);
    assert_eq!(file.metadata().unwrap().ino(), inode, "a mount point is written in place");
    assert!(!machine.join("var/lib/lap-install").exists());
    assert_eq!(fs::read("/etc/resolv.conf").ok(), here, "this machine's own");
}

#[test]
fn taking_back_needs_a_lab_that_was_installed() {
    let office = Workspace::small();
    office.lap(["dns", "install", "--undo", "--dry-run", "--lab", "nobody"]).code(0).prints("Nothing to do.\n");
    office
        .lap(["dns", "install", "--undo", "--dry-run", "--lab", "../x"])
        .fails(3, "error: a lab cannot be called `../x`\n");
}
