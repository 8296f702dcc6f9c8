//! Environments, containers and confirmations that are named wrongly.

use crate::workspace::Workspace;

const NO_ENVIRONMENT: &str =
    "error: there is no environment `tset`: the environments are `prod`, `test`\nhint: did you mean `test`?\n";
const NEITHER: &str = "error: `tset` is neither an environment nor a container: the environments are `prod`, `test`, the containers `git`\nhint: did you mean `test`?\n";
const NO_CONTAINER: &str = "error: there is no container `gti`: the containers are `git`\nhint: did you mean `git`?\n";

#[test]
fn unknown_environment() {
    let workspace = Workspace::with_keys();
    for line in [
        "up tset",
        "up tset --dry-run",
        "down tset",
        "status tset",
        "ssh tset",
        "restore latest tset --yes",
        "image list tset",
        "image seed debian -e tset",
        "destroy tset --yes",
    ] {
        workspace.lap(line.split(' ')).fails(2, NO_ENVIRONMENT);
    }
    for line in [
        "start tset",
        "stop tset",
        "restart tset",
        "image build tset",
        "check tset",
        "logs tset",
        "logs tset git",
        "logs tset/git",
        "exec tset/git -- ls",
    ] {
        workspace.lap(line.split(' ')).fails(2, NEITHER);
    }
    let workspace = workspace.with("nodes/two/node.toml", "environment = \"test\"\nrole = \"worker\"\n");
    for (name, hint) in [
        ("git", "`git` is a container: this takes an environment, e.g. `test`"),
        ("two", "`two` is a node: name its environment, `test`"),
        ("nowhere", "an environment is a directory in `env/`: see `lap help env.toml`"),
    ] {
        let error =
            format!("error: there is no environment `{name}`: the environments are `prod`, `test`\nhint: {hint}\n");
        workspace.lap(["down", name]).fails(2, &error);
    }
}

#[test]
fn unknown_node() {
    let workspace = Workspace::with_keys();
    for (name, hint) in [
        ("tset", "did you mean `test`?"),
        ("nowhere", "`lap node list` shows all nodes; `lap node add` adds an existing machine"),
    ] {
        let error = format!("error: there is no node `{name}`: the nodes are `prod`, `test`\nhint: {hint}\n");
        workspace.lap(["node", "prepare", name, "--yes"]).fails(2, &error);
    }
}

#[test]
fn unknown_container() {
    let workspace = Workspace::with_keys();
    for line in [
        "stop test gti",
        "stop test/gti",
        "image build test gti",
        "logs test gti",
        "logs prod/gti",
        "exec test/gti -- ls",
    ] {
        workspace.lap(line.split(' ')).fails(2, NO_CONTAINER);
    }
}

#[test]
fn a_container_is_named_by_its_address() {
    let workspace = Workspace::with_keys();
    // Docker does not answer: the command line was right.
    for line in [
        "start git",
        "stop git",
        "stop prod/git/git/1",
        "restart prod git",
        "image build test/git",
        "check git/git",
        "logs prod/git",
        "exec prod/git -- ls",
        "restore latest --only prod/git --yes",
        "restore latest prod --only git --yes",
    ] {
        workspace.lap(line.split(' ')).code(4);
    }
    let error = "error: `prod` is an environment: name a container in it\nhint: e.g. `prod/git`\n";
    workspace.lap(["logs", "prod"]).fails(2, error);
    let error = "error: `git` has no service `web`: its one service is `git`\n";
    workspace.lap(["logs", "git/web"]).fails(2, error);
}

#[test]
fn destroying_asks_for_the_name() {
    let workspace = Workspace::with_keys();
    let error = "error: `lap destroy` asks for confirmation, and there is no terminal\nhint: answer the question with `--yes`\n";
    workspace.lap(["destroy", "test"]).fails(2, error);
    let error = "error: there is no option `--confirm`\nhint: `--yes` answers the question of a command that asks\n";
    workspace.lap(["destroy", "test", "--confirm", "test"]).fails(2, error);
    let ended = workspace.lap(["destroy", "--yes"]).code(2);
    assert!(ended.stderr.contains("<ENVIRONMENT>"), "{}", ended.stderr);
}

#[test]
fn wrong_command_lines() {
    let workspace = Workspace::none();
    for line in [
        "frobnicate",
        "up --nope",
        "up test --all",
        "init",
        "keys",
        "exec git",
        "logs",
        "--progress loud up",
        "logs git -n many",
    ] {
        let ended = workspace.lap(line.split(' ')).code(2).prints("");
        assert!(ended.stderr.starts_with("error: ") || ended.stderr.contains("Usage: lap keys"), "{}", ended.stderr);
    }
}

#[test]
fn another_name_for_the_lab() {
    let error = "error: the workspace has 1 problem:\nlap.toml: lab: the name in `--lab`: `A B` is not a name: write \
                 lower-case letters, digits and hyphens between them, e.g. `a-b`\n";
    let ended = Workspace::with_keys().lap(["--lab", "A B", "up", "--dry-run"]).code(3);
    assert!(ended.stderr.starts_with(error), "{}", ended.stderr);
    Workspace::with_keys().variable("LAP_LAB", "other").lap(["up", "--dry-run"]).code(4);
}
