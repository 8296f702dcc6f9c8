//! `lap init`, and finding the workspace from wherever one is.

use std::fs;

use crate::workspace::Workspace;

const NEXT: &str = "  lap up\n  lap keys export FILE    # keep a copy of the keys in another place\n";

#[test]
fn a_new_directory() {
    let workspace = Workspace::none();
    let out = workspace.lap_in(".", ["init", "branch/office"]).code(0).says("").stdout;
    let (first, rest) = out.split_once('\n').unwrap();
    assert!(
        first.starts_with("Lab `office`: ")
            && first.ends_with(" in branch/office, 17 key files in .lap/keys (not in git)."),
        "{first}"
    );
    assert_eq!(rest, format!("\nNext:\n  cd branch/office\n{NEXT}"));
    let made = workspace.everything();
    for path in
        [".git", ".gitignore", ".lap/keys/admin", "lap.toml", "nodes/test/node.toml", "containers/git/Dockerfile"]
    {
        assert!(made.contains_key(&format!("branch/office/{path}")), "{path} is missing");
    }
    // What is a script here is one there.
    assert_eq!(made["branch/office/containers/git/entrypoint"], "0755");
    assert_eq!(made["branch/office/lap.toml"], "0644");
}

#[test]
fn an_existing_directory_keeps_what_it_has() {
    let workspace = Workspace::none()
        .with(".gitignore", "*.o")
        .with("README", "ours")
        .with("containers/git/Dockerfile", "FROM scratch\n");
    let out = workspace.lap(["init", ".", "--name", "lab-2"]).code(0).says("").stdout;
    // No `cd` to where one is.
    assert!(out.starts_with("Lab `lab-2`: ") && out.ends_with(&format!("\nNext:\n{NEXT}")), "{out}");
    let read = |path: &str| fs::read_to_string(workspace.root().join(path)).unwrap();
    assert_eq!(read(".gitignore"), "*.o\n/.lap\n");
    assert_eq!(read("README"), "ours");
    assert_eq!(read("containers/git/Dockerfile"), "FROM scratch\n");
    assert!(read("lap.toml").contains("lab = \"lab-2\"\n"));
}

#[test]
fn a_workspace_is_not_made_twice() {
    let workspace = Workspace::from_templates();
    let before = workspace.everything();
    workspace
        .lap_in(".", ["init", "office"])
        .fails(10, "error: `[dir]/office` is a workspace already: it has a `lap.toml`\nhint: run `lap up` there\n");
    assert_eq!(workspace.everything(), before);
}

#[test]
fn a_name_no_lab_can_have() {
    let workspace = Workspace::none();
    let before = workspace.everything();
    let error = "error: the lab cannot have this name: `My_Lab` is not a name: write lower-case letters, digits and hyphens between \
                 them, e.g. `my-lab`\n";
    let hint = "hint: choose another name with `--name NAME`\n";
    workspace.lap_in(".", ["init", "My_Lab"]).fails(2, &format!("{error}{hint}"));
    workspace.lap_in(".", ["init", "x", "--name", "My_Lab"]).fails(2, error);
    assert_eq!(workspace.everything(), before);
}

#[test]
fn what_the_templates_say_is_right() {
    let workspace = Workspace::from_templates();
    workspace.lap(["keys", "new"]).code(0).prints("Nothing to do: all keys exist.\n");
    // The next thing that is missing is Docker, not something in a file.
    workspace.lap(["up", "--dry-run"]).code(4);
}

#[test]
fn found_from_any_directory_in_it() {
    let workspace = Workspace::with_keys();
    let keys = workspace.lap(["keys", "list"]).stdout;
    assert_eq!(workspace.lap_in("office/containers/git", ["keys", "list"]).code(0).stdout, keys);
    assert_eq!(workspace.lap_in("home", ["-C", "../office/env", "keys", "list"]).code(0).stdout, keys);
    assert_eq!(workspace.lap_in("home", ["keys", "list", "-C", "../office"]).code(0).stdout, keys);
    // Past keys and files to Docker: the plan found its workspace.
    workspace.lap_in("office/containers/git", ["up", "--dry-run"]).code(4);
}

#[test]
fn outside_of_every_workspace() {
    let workspace = Workspace::none();
    for line in ["up", "status", "up --dry-run", "doctor", "keys new", "destroy test --yes"] {
        workspace.lap(line.split(' ')).fails(
            3,
            "error: no `lap.toml` in `[dir]/office` or any directory above\nhint: `lap init DIR` makes a new workspace\n",
        );
    }
    workspace
        .lap(["-C", "nowhere", "up"])
        .fails(3, "error: cannot open `[dir]/office/nowhere`: No such file or directory (os error 2)\n");
}
