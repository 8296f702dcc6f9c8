//! No Docker: one sentence and the next step, whatever was asked.

use crate::workspace::Workspace;

const ERROR: &str = "\
error: Docker does not answer at `unix:///nonexistent/docker.sock`, where `DOCKER_HOST` points
hint: start it there, or run `unset DOCKER_HOST` to use this machine's Docker
";

#[test]
fn every_verb_that_needs_it_says_so() {
    let workspace = Workspace::with_keys();
    for line in [
        "up",
        "up --all",
        "up --dry-run",
        "up --dry-run",
        "status",
        "status --json",
        "down",
        "start",
        "stop",
        "stop test git",
        "restart test git",
        "image build test git",
        "image list",
        "image seed debian",
        "logs git",
        "exec git -- ls",
        "ssh",
        "destroy test --yes",
    ] {
        workspace.lap(line.split(' ')).fails(4, ERROR);
    }
}

#[test]
fn doctor_lists_it_among_the_rest() {
    let ended = Workspace::with_keys().lap(["doctor"]).code(4);
    assert!(
        ended.stdout.contains("\nBAD   Docker does not answer at `unix:///nonexistent/docker.sock`"),
        "{}",
        ended.stdout
    );
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
}

#[test]
fn what_needs_no_docker_works() {
    let workspace = Workspace::with_keys();
    for line in
        ["keys list", "keys list --json", "keys new", "help", "help up", "--help", "--version", "completions bash"]
    {
        let ended = workspace.lap(line.split(' ')).code(0).says("");
        assert!(!ended.stdout.is_empty(), "{line}");
    }
}
