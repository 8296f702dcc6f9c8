//! What goes wrong on real nodes: one sentence that names the thing and the next step, and the right exit code.

use std::net::TcpListener;

use super::lab::{Lab, run, until, until_or};

#[test]
fn what_goes_wrong_is_said_in_a_sentence() {
    let lab = Lab::tiny("errors");
    lab.lap(&["up"]).ok();
    a_failing_build(&lab);
    a_container_that_falls_over(&lab);
    one_that_is_never_healthy(&lab);
    a_full_disk(&lab);
    a_dead_dockerd(&lab);
    a_node_that_does_not_answer(&lab);
    a_port_that_is_taken(&lab);
    what_is_no_longer_wished_for(&lab);
}

fn a_failing_build(lab: &Lab) {
    lab.edit("containers/two/Dockerfile", "RUN echo two > /say", "RUN echo two > /say && echo nearly && ls /nowhere");
    let before = lab.on_node("test", &["docker", "ps", "--quiet", "--no-trunc"]).ok();
    let said = lab.lap(&["up"]).fails(6);
    for part in ["cannot build `two`", "Step 2/", "ls /nowhere", "| nearly", "ls: /nowhere: No such file"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(lab.on_node("test", &["docker", "ps", "--quiet", "--no-trunc"]).ok(), before, "what ran still runs");
    assert!(lab.lap(&["status"]).ok().contains("did not end in \"build `two`\""));
    lab.edit("containers/two/Dockerfile", " && echo nearly && ls /nowhere", "");
}

fn a_container_that_falls_over(lab: &Lab) {
    lab.edit(
        "containers/two/container.toml",
        "depends_on",
        "command = [\"/bin/sh\", \"-c\", \"echo no config; exit 4\"]\ndepends_on",
    );
    let said = lab.lap(&["up"]).fails(7);
    assert!(said.contains("`two` ended with exit code 4") && said.contains("| no config"), "{said}");
    assert!(said.contains("`lap logs test/two`"), "{said}");
    lab.edit("containers/two/container.toml", "command = [\"/bin/sh\", \"-c\", \"echo no config; exit 4\"]\n", "");
    lab.lap(&["up"]).ok();
    lab.healthy();
}

/// `await_healthy` waits a minute at least, so Docker's own verdict ends this one: it comes after three checks.
fn one_that_is_never_healthy(lab: &Lab) {
    let check = "healthcheck = { test = [\"CMD-SHELL\", \"grep -q two /say\"]";
    lab.edit("containers/two/container.toml", check, &format!("{check}, interval = \"1s\""));
    lab.lap(&["up"]).ok();
    lab.on_node("test", &["docker", "exec", "infra_two", "sh", "-c", "echo broken > /say"]).ok();
    until("it is unhealthy", || lab.lap(&["status"]).out.contains("unhealthy"));
    assert!(lab.lap(&["status"]).fails(7).contains("`two`"));
    assert!(lab.lap(&["up", "--dry-run"]).ok().contains("it is unhealthy"));
    lab.lap(&["up"]).ok();
    lab.healthy();
}

fn a_full_disk(lab: &Lab) {
    // Random, so that no compression makes room.
    let fill = lab.on_node("test", &["sh", "-c", "head -c 2G /dev/urandom > /data/fill; sync"]);
    assert!(fill.err.contains("No space left on device"), "{fill:?}");
    assert!(lab.lap(&["status"]).fails(7).contains("`/data` is full: "));
    // The journal and the record of what runs are on that disk: a command gets the room of the reserve.
    lab.edit("containers/two/Dockerfile", "RUN echo two > /say", "RUN echo two > /say && echo more > /more");
    assert!(lab.lap(&["up"]).ok().contains("`test` is up"));
    lab.edit("containers/two/Dockerfile", " && echo more > /more", "");
    lab.lap(&["restart"]).ok();
    assert!(lab.lap(&["status"]).fails(7).contains("`/data` is full: "));
    lab.on_node("test", &["rm", "/data/fill"]).ok();
    lab.on_node("test", &["sync"]).ok();
    lab.lap(&["up"]).ok();
    lab.healthy();
}

fn a_dead_dockerd(lab: &Lab) {
    // Stopped, so that the agent does not start another: it is there and says nothing.
    lab.on_node("test", &["pkill", "-STOP", "dockerd"]).ok();
    let status = lab.command(&["status"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    lab.on_node("test", &["pkill", "-CONT", "dockerd"]).ok();
    assert!(status.wait_with_output().unwrap().status.success(), "it answers when dockerd does");
    // Killed: the agent starts it again, and the containers come back.
    lab.on_node("test", &["pkill", "-9", "dockerd"]).ok();
    until_or(|| lab.lap(&["status"]).code == 0, || format!("{:?}", lab.lap(&["status"])));
}

fn a_node_that_does_not_answer(lab: &Lab) {
    lab.on_node("test", &["pkill", "-STOP", "-x", "sshd"]).ok();
    let said = lab.lap(&["status"]).fails(5);
    assert!(said.contains("`test` (") && said.contains("does not answer"), "{said}");
    lab.on_node("test", &["pkill", "-CONT", "-x", "sshd"]).ok();
    run("docker", &["stop", &lab.node("test")]).ok();
    let said = lab.lap(&["status"]).fails(5);
    assert!(said.contains("the node `test` does not run") && said.contains("`lap up test`"), "{said}");
    lab.lap(&["up"]).ok();
}

fn a_port_that_is_taken(lab: &Lab) {
    // An address of loopback that is this checkout's own, so that two of them do not meet.
    let number = u8::from_str_radix(&lab.name[1..3], 16).unwrap();
    let address = format!("127.77.{number}.77");
    let taken = TcpListener::bind(format!("{address}:8080")).unwrap();
    lab.edit("nodes/test/node.toml", "disk", &format!("publish = \"{address}\"\ndisk"));
    let said = lab.lap(&["up"]).fails(4);
    assert!(said.contains("cannot start the node `test`") && said.contains("8080"), "{said}");
    assert!(said.contains("another program uses that port"), "{said}");
    drop(taken);
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert!(std::net::TcpStream::connect(format!("{address}:8080")).is_ok(), "published");
}

fn what_is_no_longer_wished_for(lab: &Lab) {
    std::fs::remove_dir_all(lab.root.join("containers/two")).unwrap();
    assert!(lab.lap(&["up", "--dry-run"]).ok().contains("remove `two`"));
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert!(!lab.on_node("test", &["docker", "ps", "--all"]).ok().contains("infra_two"));
}
