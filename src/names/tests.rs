//! Which names come out of which workspace, by table.

use std::path::PathBuf;

use lap_nameserver::names::Names;

use super::*;
use crate::config::model::{Build, Container, Dns, Environment, NetworkMode, Node, Provider, Role};

fn container(name: &str, names: &[&str]) -> Container {
    Container {
        name: name.into(),
        description: String::new(),
        scale: 1,
        names: names.iter().map(|n| n.to_string()).collect(),
        ports: vec![],
        volumes: vec![],
        environment: BTreeMap::new(),
        depends_on: BTreeSet::new(),
        healthcheck: None,
        cap_add: BTreeSet::new(),
        cap_drop: BTreeSet::new(),
        security_opt: vec![],
        privileged: false,
        read_only: false,
        tmpfs: vec![],
        mem_limit: None,
        pids_limit: None,
        cpus: None,
        user: None,
        init: false,
        network_mode: NetworkMode::Bridge,
        command: None,
        entrypoint: None,
        hostname: None,
        stop_grace_period: std::time::Duration::from_secs(10),
        stop_signal: None,
        data: None,
        snapshot: None,
        checks: None,
        secrets: BTreeSet::new(),
        build: Build::default(),
    }
}

fn environment(name: &str, master: &str) -> (String, Environment) {
    let it = Environment {
        name: name.into(),
        description: String::new(),
        promote_from: None,
        upstreams: vec![],
        on_failure: crate::config::model::OnFailure::Keep,
        master: master.into(),
        builder: None,
    };
    (name.into(), it)
}

fn node(name: &str, environment: &str) -> (String, Node) {
    let it = Node {
        name: name.into(),
        environment: environment.into(),
        role: Role::Master,
        provider: Provider::Docker,
        address: None,
        publish: None,
        cpus: None,
        memory: None,
        disk: 0,
        filesystem: None,
        ssh: None,
        vm: crate::config::model::Vm::default(),
    };
    (name.into(), it)
}

fn lab(containers: &[Container]) -> Lab {
    Lab {
        name: "lab".into(),
        root: PathBuf::from("/nowhere"),
        default_environment: "test".into(),
        subnet: None,
        operators: BTreeMap::new(),
        grants: BTreeMap::new(),
        hosts: BTreeMap::from([
            ("office".into(), Address::Offset(12)),
            ("hosted".into(), Address::Full([203, 0, 113, 5].into())),
        ]),
        pcs: BTreeMap::from([("ada-lovelace-desk".into(), Address::Offset(33))]),
        dns: Dns::default(),
        snapshot: None,
        repositories: BTreeMap::new(),
        copies: Default::default(),
        promote: Default::default(),
        environments: BTreeMap::from([environment("prod", "master"), environment("test", "master-test")]),
        nodes: BTreeMap::from([node("master", "prod"), node("master-test", "test")]),
        containers: containers.iter().map(|c| (c.name.clone(), c.clone())).collect(),
        rootfs: crate::config::model::Rootfs::default(),
    }
}

const PROD: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);
const TEST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 11);
const SUBNET: Option<Subnet> = Some(Subnet { base: Ipv4Addr::new(192, 168, 0, 0), prefix: 24 });

fn nodes() -> BTreeMap<String, Ipv4Addr> {
    BTreeMap::from([("master".into(), PROD), ("master-test".into(), TEST)])
}

fn of(lab: &Lab, environment: &str, nodes: &BTreeMap<String, Ipv4Addr>) -> Names {
    names(&NameInputs { lab, environment, nodes, subnet: SUBNET, upstreams: &[], runs: None })
}

fn addresses(names: &Names, name: &str) -> Vec<Ipv4Addr> {
    names.hosts.iter().filter(|(n, _)| n == name).map(|(_, a)| *a).collect()
}

#[test]
fn each_name_has_its_address_in_each_environment() {
    let lab = lab(&[container("git", &["git.internal"]), container("cache", &["Ubuntu.Cache.internal"])]);
    let prod = of(&lab, "prod", &nodes());
    let test = of(&lab, "test", &nodes());
    let table: &[(&str, Option<Ipv4Addr>, Option<Ipv4Addr>)] = &[
        // name, asked at prod's server, asked at test's server
        ("git.internal.", Some(PROD), Some(TEST)),
        ("git.prod.internal.", Some(PROD), Some(PROD)),
        ("git.test.internal.", Some(TEST), Some(TEST)),
        ("ubuntu.cache.internal.", Some(PROD), Some(TEST)),
        ("ubuntu.cache.prod.internal.", Some(PROD), Some(PROD)),
        ("ubuntu.cache.test.internal.", Some(TEST), Some(TEST)),
        ("ns.internal.", Some(PROD), Some(TEST)),
        ("master.node.internal.", Some(PROD), Some(PROD)),
        ("master-test.node.internal.", Some(TEST), Some(TEST)),
        ("office.host.internal.", Some([192, 168, 0, 12].into()), Some([192, 168, 0, 12].into())),
        ("hosted.host.internal.", Some([203, 0, 113, 5].into()), Some([203, 0, 113, 5].into())),
        ("ada-lovelace-desk.pc.internal.", Some([192, 168, 0, 33].into()), Some([192, 168, 0, 33].into())),
        ("git.node.internal.", None, None),
    ];
    for (name, at_prod, at_test) in table {
        assert_eq!(addresses(&prod, name), Vec::from_iter(*at_prod), "{name} at prod");
        assert_eq!(addresses(&test, name), Vec::from_iter(*at_test), "{name} at test");
    }
    assert_eq!((prod.server.as_str(), prod.server_address), ("ns.internal.", Some(PROD)));
    assert_eq!(prod.zone, "internal.");
}

#[test]
fn what_has_no_address_yet_is_left_out() {
    let lab = lab(&[container("git", &["git.internal"])]);
    let only_prod = BTreeMap::from([("master".into(), PROD), ("unknown".into(), TEST)]);
    let test = of(&lab, "test", &only_prod);
    assert_eq!(test.server_address, None);
    assert!(addresses(&test, "git.internal.").is_empty());
    assert!(addresses(&test, "git.test.internal.").is_empty());
    assert!(addresses(&test, "unknown.node.internal.").is_empty());
    assert_eq!(addresses(&test, "git.prod.internal."), [PROD]);
    let without = names(&NameInputs {
        lab: &lab,
        environment: "prod",
        nodes: &nodes(),
        subnet: None,
        upstreams: &[],
        runs: None,
    });
    assert!(addresses(&without, "office.host.internal.").is_empty());
}

#[test]
fn the_first_row_of_a_machine_is_its_machine_name() {
    let lab = lab(&[container("aaa", &["aaa.internal"])]);
    let first = of(&lab, "prod", &nodes()).hosts.into_iter().find(|(_, a)| *a == PROD);
    assert_eq!(first.map(|(n, _)| n).as_deref(), Some("master.node.internal."));
}

#[test]
fn names_outside_the_zone_and_doubles_are_dropped() {
    let lab = lab(&[
        container("a", &["git.internal", "internal", "www.example.com", "notinternal"]),
        container("b", &["git.internal."]),
    ]);
    let prod = of(&lab, "prod", &nodes());
    assert_eq!(addresses(&prod, "git.internal."), [PROD]);
    assert!(prod.hosts.iter().all(|(n, _)| n.ends_with(".internal.") && !n.contains("example")));
}

#[test]
fn what_lap_toml_says_of_dns_goes_with_it() {
    let mut lab = lab(&[container("git", &["git.lan"])]);
    lab.dns = Dns {
        zone: "lan".into(),
        clients: Some(vec!["10.0.0.0/8".into()]),
        reverse: vec!["192.168.1.0/24".into(), "192.168.0.0/24".into()],
        secondaries: vec!["192.168.0.9:53".parse().unwrap()],
        forward: BTreeMap::from([("corp.example".into(), vec!["10.0.0.53:53".parse().unwrap()])]),
        records: vec![("www.lan".into(), "CNAME".into(), "git.lan.".into())],
    };
    let prod = of(&lab, "prod", &nodes());
    assert_eq!((prod.zone.as_str(), prod.server.as_str()), ("lan.", "ns.lan."));
    assert_eq!(addresses(&prod, "git.test.lan."), [TEST]);
    assert_eq!(prod.reverse, ["192.168.0.0/24", "192.168.1.0/24"], "the lab's own network first, and once");
    assert_eq!(prod.records, [("www.lan.".into(), "CNAME".into(), "git.lan.".into())]);
    assert_eq!(prod.forward.keys().collect::<Vec<_>>(), ["corp.example."]);
    assert_eq!((prod.clients, prod.secondaries), (lab.dns.clients, lab.dns.secondaries));
    assert_eq!(of_environment("git.lan", "test", "lan").as_deref(), Some("git.test.lan"));
    assert_eq!(of_environment("git.internal", "test", "lan"), None);
}

#[test]
fn names_json_keeps_its_shape() {
    let upstream = "9.9.9.9:53".parse().unwrap();
    let names = Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some(PROD),
        hosts: vec![("git.internal.".into(), PROD)],
        upstreams: vec![upstream],
        ..Names::default()
    };
    let json = r#"{"zone":"internal.","server":"ns.internal.","server_address":"192.168.0.10","hosts":[["git.internal.","192.168.0.10"]],"upstreams":["9.9.9.9:53"]}"#;
    assert_eq!(serde_json::from_str::<Names>(json).unwrap(), names, "what an earlier lap wrote");
    let whole = Names {
        records: vec![("www.internal.".into(), "CNAME".into(), "git.internal.".into())],
        reverse: vec!["192.168.0.0/24".into()],
        forward: BTreeMap::from([("corp.example.".into(), vec![upstream])]),
        clients: Some(vec!["192.168.0.0/24".into()]),
        secondaries: vec!["192.168.0.9:53".parse().unwrap()],
        ..names
    };
    let json = r#"{"zone":"internal.","server":"ns.internal.","server_address":"192.168.0.10","hosts":[["git.internal.","192.168.0.10"]],"records":[["www.internal.","CNAME","git.internal."]],"reverse":["192.168.0.0/24"],"upstreams":["9.9.9.9:53"],"forward":{"corp.example.":["9.9.9.9:53"]},"clients":["192.168.0.0/24"],"secondaries":["192.168.0.9:53"]}"#;
    assert_eq!(serde_json::to_string(&whole).unwrap(), json);
    assert_eq!(serde_json::from_str::<Names>(json).unwrap(), whole);
}
