//! Files that are not what they should be.

use std::{fs, process::Command};

use super::World;

#[test]
fn not_toml() {
    World::new()
        .with("lap.toml", "lab = \"a\"\ndefault = \n")
        .says(&["lap.toml:2: this is not TOML: string values must be quoted, expected literal string"]);
    World::new().with("lap.toml", "lab = \"a\"\nlab = \"b\"\n").says(&["lap.toml:2: this is not TOML: duplicate key"]);
}

#[test]
fn not_text() {
    World::new()
        .with("lap.toml", b"lab = \"a\"\n# \xff\n")
        .with("env/test/env.toml", "")
        .container("a", "")
        .with("containers/a/container.toml", " \n\n")
        .with("containers/a/Dockerfile", "\n")
        .container("b", "#")
        .with("containers/b/Dockerfile", b"\xfe\xff\0F")
        .says(&[
            "containers/a/Dockerfile:1: the file is empty: it begins with FROM",
            "containers/a/container.toml:1: the file is empty: `lap help container.toml` shows its keys",
            "containers/b/Dockerfile:1: not UTF-8: save the file as UTF-8",
            "env/test/env.toml:1: the file is empty: `lap help env.toml` shows its keys",
            "lap.toml:2: not UTF-8: save the file as UTF-8",
        ]);
}

#[test]
fn not_there() {
    let world = World::new().container("a", "#").without("containers/a/Dockerfile").with("env/x/readme", "x");
    world.with("nodes/n/x", "x").without("nodes/rootfs.toml").with("containers/c/x", "x").without("lap.toml").says(&[
        "containers/a/Dockerfile: missing: write one that begins with FROM",
        "containers/c/Dockerfile: missing: write one that begins with FROM",
        "containers/c/container.toml: missing: missing: each directory under `containers` needs one, see `lap help container.toml`",
        "env/x/env.toml: missing: missing: each directory under `env` needs one, see `lap help env.toml`",
        "lap.toml: missing: `lap init DIR` makes a new workspace",
        "nodes/n/node.toml: missing: missing: each directory under `nodes` needs one, see `lap help node.toml`",
        "nodes/rootfs.toml: missing: missing: lap makes nodes from it, `lap help rootfs.toml` shows an example to copy",
    ]);
}

#[test]
fn not_a_file() {
    let world = World::new().container("a", "#").without("containers/a/Dockerfile");
    fs::create_dir(world.dir.path().join("containers/a/Dockerfile")).unwrap();
    world.says(&["containers/a/Dockerfile: not a file: write a text file here"]);
    let world = World::new().without("lap.toml");
    assert!(Command::new("mkfifo").arg(world.dir.path().join("lap.toml")).status().unwrap().success());
    world.says(&["lap.toml: not a file: write a text file here"]);
    World::new()
        .with("lap.toml", vec![b'#'; (1 << 20) + 1])
        .says(&["lap.toml: larger than 1 MiB: this is not a settings file"]);
}

#[test]
fn bad_directory_names() {
    let help = "write lower-case letters, digits and hyphens between them";
    let world = World::new().container("My_Git", "#").with("env/A/env.toml", "#").with("containers/.hidden/x", "x");
    let node = "environment = \"test\"\nrole = \"worker\"";
    world.with("env/node/env.toml", "#").with("nodes/a.b/node.toml", node).says(&[
        &format!("containers/My_Git: `My_Git` is not a name: {help}, e.g. `my-git`"),
        &format!("env/A: `A` is not a name: {help}, e.g. `a`"),
        "env/A/env.toml:1: no master: write a `nodes/<name>/node.toml` with `environment = \"A\"`, `role = \"master\"`",
        "env/node: `node.internal` is reserved for lap: choose another name for the environment",
        "env/node/env.toml:1: no master: write a `nodes/<name>/node.toml` with `environment = \"node\"`, `role = \
         \"master\"`",
        &format!("nodes/a.b: `a.b` is not a name: {help}, e.g. `a-b`"),
    ]);
}

/// A name on disk is a stranger's text too.
#[test]
fn odd_directory_names() {
    let world = World::new().with("env/a\u{1b}[2J/env.toml", "#").without("lap.toml").without("nodes");
    let text = world.problems();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.starts_with("env/a\\u{1b}[2J: `a\\u{1b}[2J` is not a name: "), "{text}");
}

#[test]
fn links_that_leave_the_workspace() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "x").unwrap();
    let to = outside.path().display();
    World::new()
        .container("a", "#")
        .link("containers/a/dir/inside", "../Dockerfile")
        .link("containers/a/out", outside.path().join("f"))
        .link("containers/a/dangling", "../../../nothing")
        .link("containers/a/gone", "nothing")
        .link("env/test/all", outside.path())
        .link("nodes/out", outside.path())
        .says(&[
            "containers/a/dangling: the link leads out of the workspace, to `../../../nothing`: replace it by a copy",
            &format!("containers/a/out: the link leads out of the workspace, to `{to}/f`: replace it by a copy"),
            &format!("env/test/all: the link leads out of the workspace, to `{to}`: replace it by a copy"),
            &format!("nodes/out: the link leads out of the workspace, to `{to}`: replace it by a copy"),
            "nodes/out/node.toml: missing: missing: each directory under `nodes` needs one, see `lap help node.toml`",
        ]);
}

/// No bytes make it panic.
#[test]
fn any_bytes() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let good = super::super::example("container.toml").unwrap();
    let world = World::new().container("a", "#");
    for round in 0..300 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=round % 7 {
            let at = next() as usize % bytes.len();
            match next() % 3 {
                0 => bytes[at] = next() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"\"'[]{}=.\n\\$"[next() as usize % 11]),
            }
        }
        for file in ["container.toml", "Dockerfile"] {
            fs::write(world.dir.path().join("containers/a").join(file), &bytes).unwrap();
        }
        let _ = world.problems();
    }
    let deep = format!("ports = {}", "[".repeat(100_000));
    World::new().with("lap.toml", deep).problems();
    World::new().with("lap.toml", format!("{} = 1", vec!["a"; 50_000].join("."))).problems();
}
