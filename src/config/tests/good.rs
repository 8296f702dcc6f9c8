//! What a right workspace becomes.

use std::{collections::BTreeSet, time::Duration};

use super::{super::*, World};
use crate::config::model::{Address, NetworkMode};

#[test]
fn a_small_workspace() {
    let lab = World::new().load();
    assert_eq!(lab.name, "lap");
    assert_eq!(lab.default_environment, "test");
    assert_eq!(lab.environments["prod"].master, "prod");
    assert_eq!(lab.environments["prod"].promote_from.as_deref(), Some("test"));
    assert_eq!(lab.nodes["test"].address, Some(Address::Offset(10)));
    assert_eq!(lab.nodes["test"].disk, 20 << 30);
    assert!(lab.root.is_absolute());
}

#[test]
fn defaults_of_a_container() {
    let lab = World::new().container("a", "# nothing").load();
    let mut want = model::Container::new("a");
    want.environment.insert("LAP_ZONE".into(), "internal".into());
    assert_eq!(lab.containers["a"], want);
    let lab = World::new().container("a", "healthcheck.test = [\"CMD\", \"true\"]").load();
    let check = lab.containers["a"].healthcheck.clone().unwrap();
    assert_eq!((check.interval, check.timeout, check.retries), (Duration::from_secs(10), Duration::from_secs(5), 3));
    assert_eq!(check.start_period, Duration::from_secs(30));
}

#[test]
fn forms_of_a_container() {
    let toml = r#"
        environment = ["A=1", "B=x=y", "C="]
        command = "sh -c 'a b'"
        network_mode = "host"
        cap_add = ["cap_sys_time", "CHOWN"]
        security_opt = ["seccomp:unconfined"]
        volumes = ["/var/lib/lap/names/x:/n:ro", "/data/a/sub:/sub", "/env:/e"]
        mem_limit = 6291456
        pids_limit = 64
        data = { size = "2g" }
        cpus = 2
        ports = ["53", "53:53/udp"]
    "#;
    let grants = r#"lab = "lap"
        [grants]
        a = ["/var/lib/lap/names", "network_mode: host", "cap_add: SYS_TIME", "security_opt: seccomp=unconfined"]
    "#;
    let lab = World::new().with("lap.toml", grants).container("a", toml).load();
    let a = &lab.containers["a"];
    assert_eq!(a.environment["B"], "x=y");
    assert_eq!(a.environment["C"], "");
    assert_eq!(a.command.as_deref().unwrap(), ["sh", "-c", "a b"]);
    assert_eq!(a.network_mode, NetworkMode::Host);
    assert_eq!(a.cap_add, BTreeSet::from(["SYS_TIME".to_owned(), "CHOWN".to_owned()]));
    assert_eq!(a.security_opt, ["seccomp=unconfined"]);
    assert_eq!(a.mem_limit, Some(6 << 20));
    assert_eq!(a.pids_limit, Some(64));
    assert_eq!(a.data, Some(model::DataLimit { size: 2 << 30 }));
    assert!(a.volumes[0].read_only);
}

#[test]
fn parents_come_from_the_dockerfile() {
    let world = World::new().container("base", "scale = 0").container("web", "build.args.BASE = \"infra/base\"");
    let lab = world.with("containers/web/Dockerfile", "ARG BASE\nFROM $BASE\n").load();
    assert_eq!(lab.containers["web"].build.parents, BTreeSet::from(["base".to_owned()]));
}

#[test]
fn another_name_for_tests() {
    let world = World::new();
    assert_eq!(load(world.dir.path(), Some("lap-7")).unwrap().name, "lap-7");
    let message = load(world.dir.path(), Some("Lap")).unwrap_err().to_string();
    assert_eq!(
        message,
        "lap.toml: lab: the name in `--lab`: `Lap` is not a name: write lower-case letters, digits and hyphens \
         between them, e.g. `lap`"
    );
}

#[test]
fn found_from_below() {
    let world = World::new();
    let root = world.dir.path().canonicalize().unwrap();
    assert_eq!(find(&root.join("env/test")).unwrap(), root);
    let none = tempfile::tempdir().unwrap();
    let error = find(none.path()).unwrap_err();
    let dir = none.path().canonicalize().unwrap();
    assert_eq!(error.message, format!("no `lap.toml` in `{}` or any directory above", dir.display()));
    assert_eq!(error.hints, ["`lap init DIR` makes a new workspace"]);
}

/// The repository is a workspace.
#[test]
fn this_repository() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let lab = load(root, None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(lab.environments.keys().collect::<Vec<_>>(), ["prod", "test"]);
    assert!(lab.containers["git"].build.parents.contains("base"));
}
