//! What happens to containers, and why.

use lap_base::state::{State, Unreadable};

use super::{World, in_order, text};
use crate::{config::model::Healthcheck, plan::Action, wire::protocol::Health};

#[test]
fn the_first_time_all_is_made_in_order() {
    World::new().plans(&[
        "0 set who may log in (not set yet)",
        "1 install the lab's certificates (missing)",
        "2 set the names (there are none)",
        "3 install the environment's files (missing)",
        "4 install the secrets of `git` (missing)",
        "5 build `base` (there is no image of it)",
        "6 build `dns` (`base` is built) after 5",
        "7 build `git` (`base` is built) after 5",
        "8 build `registry` (`base` is built) after 5",
        "9 start `registry` (it does not exist) after 1 2 3 8",
        "10 wait until `registry` is healthy (it starts) after 9",
        "11 start `dns` (it does not exist) after 1 2 3 6",
        "12 wait until `dns` is healthy (it starts) after 11",
        "13 start `git` (it does not exist) after 1 2 3 4 7 12",
        "14 wait until `git` is healthy (it starts) after 13",
        "15 push `base` (it is not in the registry) after 5 10",
        "16 push `dns` (it is not in the registry) after 6 10 15",
        "17 push `git` (it is not in the registry) after 7 10 15",
        "18 push `registry` (it is not in the registry) after 8 10 15",
        "19 save the image of `registry` (missing) after 8",
        "20 record what runs (nothing is recorded) after 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19",
    ]);
}

#[test]
fn nothing_to_do() {
    World::settled().plans(&[]);
    // A stranger's image, or one that only fell out of the registry's names, changes nothing that runs.
    let mut world = World::settled();
    world.node.images.push(super::image_fact("other", "other"));
    world.plans(&[]);
}

#[test]
fn what_became_of_it_decides() {
    for (state, health, want) in [
        ("running", Health::Healthy, &[][..]),
        ("running", Health::None, &[]),
        ("running", Health::Starting, &["0 wait until `git` is healthy (it is starting)"]),
        (
            "running",
            Health::Unhealthy,
            &["0 replace `git` (it is unhealthy)", "1 wait until `git` is healthy (it starts) after 0"],
        ),
        (
            "exited",
            Health::None,
            &["0 replace `git` (it is exited)", "1 wait until `git` is healthy (it starts) after 0"],
        ),
        (
            "restarting",
            Health::None,
            &["0 replace `git` (it is restarting)", "1 wait until `git` is healthy (it starts) after 0"],
        ),
    ] {
        let mut world = World::settled();
        world.fact("git").state = state.into();
        world.fact("git").health = health;
        world.plans(want);
    }
    World::settled()
        .without_container("git")
        .plans(&["0 start `git` (it does not exist)", "1 wait until `git` is healthy (it starts) after 0"]);
}

#[test]
fn settings() {
    let mut world = World::settled();
    world.container("git").environment.insert("A".into(), "b".into());
    world.plans(&[
        "0 replace `git` (its settings changed)",
        "1 wait until `git` is healthy (it starts) after 0",
        "2 record what runs (it changed) after 0 1",
    ]);
    // Also of the environment: it is mounted in every container.
    let mut world = World::settled();
    world.desired.env = "e2".into();
    world.plans(&[
        "0 install the environment's files (they changed)",
        "1 replace `registry` (its settings changed) after 0",
        "2 wait until `registry` is healthy (it starts) after 1",
        "3 replace `dns` (its settings changed) after 0",
        "4 wait until `dns` is healthy (it starts) after 3",
        "5 replace `git` (its settings changed) after 0 2 4",
        "6 wait until `git` is healthy (it starts) after 5",
        "7 record what runs (it changed) after 0 1 2 3 4 5 6",
    ]);
}

#[test]
fn what_depends_on_a_replaced_one_is_left_alone() {
    let mut world = World::settled();
    world.container("dns").environment.insert("A".into(), "b".into());
    world.plans(&[
        "0 replace `dns` (its settings changed)",
        "1 wait until `dns` is healthy (it starts) after 0",
        "2 record what runs (it changed) after 0 1",
    ]);
}

#[test]
fn both_change_in_order_of_dependence() {
    let mut world = World::settled();
    world.container("dns").environment.insert("A".into(), "b".into());
    world.container("git").environment.insert("A".into(), "b".into());
    world.plans(&[
        "0 replace `dns` (its settings changed)",
        "1 wait until `dns` is healthy (it starts) after 0",
        "2 replace `git` (its settings changed) after 1",
        "3 wait until `git` is healthy (it starts) after 2",
        "4 record what runs (it changed) after 0 1 2 3",
    ]);
}

/// A key that comes or goes is no reason to replace the name server.
#[test]
fn keys_that_change_while_it_runs() {
    let mut world = World::settled();
    world.container("dns").secrets.insert("keys.json".into());
    world.installed.files.insert("secrets/dns/keys.json".into(), "one".into());
    world.node.installed.insert("secrets/dns/keys.json".into(), "one".into());
    let spec = world.desired.spec(&world.desired.containers["dns"]);
    world.fact("dns").labels.insert("lap.spec".into(), spec);
    world.record();
    world.plans(&[]);
    world.installed.files.insert("secrets/dns/keys.json".into(), "two".into());
    world.plans(&["0 set the keys of `dns` (they changed)"]);
    world.node.installed.remove("secrets/dns/keys.json");
    world.plans(&["0 set the keys of `dns` (missing)"]);
    // With another secret beside it, it is installed with that, and counts.
    world.installed.files.insert("secrets/dns/token".into(), "x".into());
    world.plans(&[
        "0 install the secrets of `dns` (missing)",
        "1 replace `dns` (its secrets changed) after 0",
        "2 wait until `dns` is healthy (it starts) after 1",
    ]);
}

#[test]
fn secrets() {
    let mut world = World::settled();
    world.installed.files.insert("secrets/git/token".into(), "another".into());
    world.plans(&[
        "0 install the secrets of `git` (they changed)",
        "1 replace `git` (its secrets changed) after 0",
        "2 wait until `git` is healthy (it starts) after 1",
    ]);
    // They were written, but the container was not replaced before lap was killed.
    let mut world = World::settled();
    world.installed.files.insert("secrets/git/token".into(), "another".into());
    world.node.installed.insert("secrets/git/token".into(), "another".into());
    world.plans(&["0 replace `git` (its secrets changed)", "1 wait until `git` is healthy (it starts) after 0"]);
    let mut world = World::settled();
    world.installed.certificates.insert("git".into(), "it ends in 20 days".into());
    world.plans(&[
        "0 issue a certificate for `git` (it ends in 20 days)",
        "1 replace `git` (its secrets changed) after 0",
        "2 wait until `git` is healthy (it starts) after 1",
    ]);
}

#[test]
fn files_of_the_node() {
    for (path, want) in [
        ("ssh/authorized_keys", "0 set who may log in (not set yet)"),
        ("trust/root.crt", "0 install the lab's certificates (missing)"),
        ("names/names.json", "0 set the names (there are none)"),
    ] {
        let mut world = World::settled();
        world.node.installed.remove(path);
        world.plans(&[want]);
    }
    for (path, want) in [
        ("ssh/authorized_keys", "0 set who may log in (the operators changed)"),
        ("trust/root.crt", "0 install the lab's certificates (they changed)"),
        ("names/names.json", "0 set the names (names or addresses changed)"),
    ] {
        let mut world = World::settled();
        world.node.installed.insert(path.into(), "another".into());
        world.plans(&[want]);
    }
    let mut world = World::settled();
    world.node.installed.remove("env/e1");
    world.plans(&["0 install the environment's files (missing)"]);
    let mut world = World::settled();
    world.desired.checks = "k1".into();
    world.plans(&["0 install the checks (missing)", "1 record what runs (it changed) after 0"]);
    world.node.installed.insert("checks/k0".into(), "x".into());
    world.plans(&["0 install the checks (they changed)", "1 record what runs (it changed) after 0"]);
    world.node.installed.insert("checks/k1".into(), "x".into());
    world.plans(&["0 record what runs (it changed)"]);
}

#[test]
fn strangers_go() {
    let mut world = World::settled();
    world.desired.containers.remove("git");
    world.desired.images.remove("git");
    world.plans(&["0 remove `git` (no longer in the workspace)", "1 record what runs (it changed) after 0"]);
    // What is only built from now on runs no more.
    let mut world = World::settled();
    world.container("git").scale = 0;
    world.plans(&["0 remove `git` (no longer in the workspace)", "1 record what runs (it changed) after 0"]);
}

#[test]
fn what_runs_is_recorded_even_if_nothing_else_changes() {
    let mut world = World::settled();
    world.desired.commit = "c2".into();
    world.plans(&["0 record what runs (another commit)"]);
    world.node.recorded = State::Absent;
    world.plans(&["0 record what runs (nothing is recorded)"]);
    world.node.recorded = State::Unreadable(Unreadable::new("current.json", "it is truncated"));
    world.plans(&["0 record what runs (the record cannot be read)"]);
}

#[test]
fn a_check_is_waited_for_as_long_as_it_may_take() {
    let mut world = World::settled();
    let seconds = std::time::Duration::from_secs;
    world.container("git").healthcheck = Some(Healthcheck {
        test: vec!["CMD".into(), "true".into()],
        interval: seconds(10),
        timeout: seconds(5),
        retries: 6,
        start_period: seconds(30),
    });
    let plan = world.up();
    in_order(&plan);
    let wait = plan.steps.iter().find_map(|step| match &step.action {
        Action::AwaitHealthy { seconds, .. } => Some(*seconds),
        _ => None,
    });
    assert_eq!(wait, Some(120), "{}", text(&plan));
}

/// The agent reads it from the record: nothing is started anew, also not what is frozen and cannot answer for that.
#[test]
fn another_size_of_the_data_is_recorded_and_nothing_more() {
    let mut world = World::settled();
    world.container("git").data = Some(crate::config::model::DataLimit { size: 10 << 30 });
    world.fact("git").health = Health::Unhealthy;
    let over = crate::wire::protocol::OverFact {
        id: "1".into(),
        bytes: 9,
        size: 5,
        since: 1,
        frozen: true,
        unmeasured: false,
    };
    world.node.quota.over.insert("git".into(), over);
    world.plans(&["0 record what runs (the data size of `git` is 10.0 GiB instead of none)"]);
    world.fact("git").health = Health::Starting;
    world.plans(&["0 record what runs (the data size of `git` is 10.0 GiB instead of none)"]);
    world.fact("git").health = Health::Unhealthy;
    world.node.quota.over.get_mut("git").unwrap().frozen = false;
    assert!(text(&world.up()).contains("replace `git` (it is unhealthy)"));
}
