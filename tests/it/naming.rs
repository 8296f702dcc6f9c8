//! Environments, containers and confirmations that are named wrongly.

use crate::workspace::Workspace;

const NO_ENVIRONMENT: &str =
    "error: there is no environment `tset`: the environments are `prod`, `test`\nhint: did you mean `test`?\n";
const NO_CONTAINER: &str = "error: there is no container `gti`: the containers are `git`\n";

#[test]
fn unknown_environment() {
    let workspace = Workspace::with_keys();
    for line in [
        "up tset",
        "up tset --dry-run",
        "plan tset",
        "down tset",
        "start tset",
        "stop tset",
        "restart tset",
        "build tset",
        "status tset",
        "logs tset git",
        "exec tset git -- ls",
        "ssh tset",
        "image list tset",
        "image seed debian -e tset",
        "destroy tset --confirm tset",
    ] {
        workspace.lap(line.split(' ')).fails(2, NO_ENVIRONMENT);
    }
    let workspace = workspace.with("nodes/two/node.toml", "environment = \"test\"\nrole = \"worker\"\n");
    for (name, hint) in [
        ("git", "`git` is a container: name the environment first, e.g. `test git`"),
        ("two", "`two` is a node: name its environment, `test`"),
        ("nowhere", "an environment is a directory in `env/`: see `lap help env.toml`"),
    ] {
        let error =
            format!("error: there is no environment `{name}`: the environments are `prod`, `test`\nhint: {hint}\n");
        workspace.lap(["stop", name]).fails(2, &error);
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
        workspace.lap(["node", "prepare", name]).fails(2, &error);
    }
}

#[test]
fn unknown_container() {
    let workspace = Workspace::with_keys();
    for line in
        ["stop test gti", "build test gti", "logs gti", "logs test gti", "exec gti -- ls", "exec test gti -- ls"]
    {
        workspace.lap(line.split(' ')).fails(2, NO_CONTAINER);
    }
}

#[test]
fn destroying_wants_the_name() {
    let workspace = Workspace::with_keys();
    workspace.lap(["destroy", "test"]).fails(
        10,
        "error: `lap destroy` needs the environment's name as a confirmation, and there is no terminal\nhint: confirm with `--confirm test`\n",
    );
    for wrong in ["prod", "TEST", ""] {
        workspace.lap(["destroy", "test", "--confirm", wrong]).fails(
            10,
            &format!("error: `{wrong}` is not `test`: nothing was removed\nhint: confirm with `--confirm test`\n"),
        );
    }
    let ended = workspace.lap(["destroy", "--confirm", "test"]).code(2);
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
    let ended = Workspace::with_keys().lap(["--lab", "A B", "plan"]).code(3);
    assert!(ended.stderr.starts_with(error), "{}", ended.stderr);
    Workspace::with_keys().variable("LAP_LAB", "other").lap(["plan"]).code(4);
}
