//! What happens to nodes, and which addresses they get.

use std::{collections::BTreeMap, net::Ipv4Addr};

use lap_base::Kind;

use super::{in_order, text};
use crate::{
    config::model::{Address, Container, Environment, Lab, Node, Port, Protocol, Provider, Role, Rootfs, Subnet},
    drivers::node::{
        docker::{HostFacts, spec_identity},
        state::NodeState,
    },
    plan::{
        addresses::addresses,
        nodes::{NodeInputs, image_tag, spec, subnet, up},
        pool,
    },
    wire::protocol::DataFacts,
};

const IDENTITY: &str = "r1";

fn net(text: &str) -> Subnet {
    crate::config::value::address::subnet(text).unwrap()
}

fn node(name: &str, environment: &str, role: Role, address: Option<Address>) -> Node {
    Node {
        name: name.into(),
        environment: environment.into(),
        role,
        provider: Provider::Docker,
        address,
        publish: None,
        cpus: None,
        memory: None,
        disk: 1 << 30,
        filesystem: None,
        ssh: None,
        vm: crate::config::model::Vm::default(),
    }
}

/// `test` with its master and a worker, `prod` with its master.
fn lab() -> Lab {
    let nodes = [
        node("test", "test", Role::Master, Some(Address::Offset(10))),
        node("worker", "test", Role::Worker, None),
        node("prod", "prod", Role::Master, Some(Address::Offset(11))),
    ];
    let environment = |name: &str| Environment {
        name: name.into(),
        description: String::new(),
        promote_from: None,
        upstreams: Vec::new(),
        on_failure: crate::config::model::OnFailure::Keep,
        master: name.into(),
        builder: None,
    };
    Lab {
        name: "office".into(),
        root: "/office".into(),
        default_environment: "test".into(),
        subnet: None,
        operators: BTreeMap::new(),
        grants: BTreeMap::new(),
        hosts: BTreeMap::new(),
        pcs: BTreeMap::new(),
        dns: crate::config::model::Dns::default(),
        snapshot: None,
        repositories: BTreeMap::new(),
        copies: Default::default(),
        promote: Default::default(),
        environments: ["test", "prod"].map(|name| (name.to_owned(), environment(name))).into(),
        nodes: nodes.into_iter().map(|node| (node.name.clone(), node)).collect(),
        containers: BTreeMap::new(),
        rootfs: Rootfs::default(),
    }
}

/// A machine where the nodes of `test` are up to date.
fn settled(lab: &Lab) -> HostFacts {
    let mut host =
        HostFacts { subnet: Some(net("10.86.7.0/24")), images: [image_tag(IDENTITY)].into(), ..HostFacts::default() };
    let addresses = addresses(lab, &net("10.86.7.0/24"), &HostFacts::default()).unwrap();
    for node in lab.nodes.values().filter(|node| node.environment == "test") {
        let identity = spec_identity(&spec(lab, node, addresses[&node.name], &host, IDENTITY));
        let state = NodeState {
            running: true,
            state: "running".into(),
            spec: identity,
            address: addresses.get(&node.name).copied(),
            created: 1,
        };
        host.nodes.insert(node.name.clone(), state);
    }
    host
}

#[track_caller]
fn plans(lab: &Lab, host: &HostFacts, rootfs_identity: &str, want: &[&str]) {
    let missing_rootfs = vec![("base".to_owned(), Rootfs::default())];
    let plan = up(lab, "test", &NodeInputs { host, rootfs_identity, missing_rootfs }).unwrap();
    assert_eq!(text(&plan), want.iter().map(|line| format!("{line}\n")).collect::<String>());
    in_order(&plan);
}

#[test]
fn the_first_time() {
    let host = HostFacts::default();
    plans(
        &lab(),
        &host,
        IDENTITY,
        &[
            "0 make the root file system of nodes (there is none)",
            "1 make the network 10.86.188.0/24 (there is none)",
            "2 make the node `test` (there is none) after 0 1",
            "3 wait for the node `test` (it boots) after 2",
            "4 make the node `worker` (there is none) after 0 1",
            "5 wait for the node `worker` (it boots) after 4",
            "6 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn nothing_to_do() {
    plans(&lab(), &settled(&lab()), IDENTITY, &[]);
    // Another environment's node is no concern of this one's.
    let mut host = settled(&lab());
    host.images.clear();
    plans(&lab(), &host, IDENTITY, &[]);
}

#[test]
fn a_stopped_node_is_started() {
    let mut host = settled(&lab());
    let state = host.nodes.get_mut("worker").unwrap();
    (state.running, state.state) = (false, "exited".into());
    plans(
        &lab(),
        &host,
        IDENTITY,
        &[
            "0 start the node `worker` (it is exited)",
            "1 wait for the node `worker` (it boots) after 0",
            "2 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn a_node_whose_definition_changed_is_made_anew() {
    let host = settled(&lab());
    let mut lab = lab();
    lab.nodes.get_mut("worker").unwrap().memory = Some(1 << 30);
    plans(
        &lab,
        &host,
        IDENTITY,
        &[
            "0 make the node `worker` again, with its data (its definition changed)",
            "1 wait for the node `worker` (it boots) after 0",
            "2 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn another_root_file_system_is_another_image() {
    plans(
        &lab(),
        &settled(&lab()),
        "r2",
        &[
            "0 make the root file system of nodes (its definition changed)",
            "1 make the node `test` again, with its data (its definition changed) after 0",
            "2 wait for the node `test` (it boots) after 1",
            "3 make the node `worker` again, with its data (its definition changed) after 0",
            "4 wait for the node `worker` (it boots) after 3",
            "5 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn published_ports_are_part_of_a_master() {
    let mut lab = lab();
    let mut git = Container::new("git");
    let port = |host, node_only| Port { host, container: 22, protocol: Protocol::Tcp, node_only };
    // The second one is for the node alone.
    git.ports = vec![port(2200, false), port(2201, true)];
    lab.containers.insert("git".into(), git);
    // Not before an address is given.
    plans(&lab, &settled(&self::lab()), IDENTITY, &[]);
    for node in lab.nodes.values_mut() {
        node.publish = Some(Ipv4Addr::new(192, 168, 0, 5));
    }
    let host = HostFacts::default();
    let of =
        |lab: &Lab, name: &str| spec(lab, &lab.nodes[name], Ipv4Addr::LOCALHOST, &host, IDENTITY).publish.unwrap().1;
    assert_eq!(of(&lab, "test").len(), 1);
    // Containers run on masters.
    assert_eq!(of(&lab, "worker").len(), 0);
    lab.containers.get_mut("git").unwrap().scale = 0;
    assert_eq!(of(&lab, "test").len(), 0);
}

#[test]
fn a_subnet_is_kept_wished_or_free() {
    let (mut lab, mut host) = (lab(), HostFacts::default());
    let chosen = subnet(&lab, &host).unwrap();
    assert!(chosen.prefix == 24 && chosen.base.octets()[..2] == [10, 86], "{chosen}");
    // The same again, until somebody else has it or something around it.
    assert_eq!(subnet(&lab, &host).unwrap(), chosen);
    host.taken = vec![chosen];
    let next = subnet(&lab, &host).unwrap();
    assert_ne!(next, chosen);
    let [a, b, c, _] = next.base.octets();
    host.taken.push(net(&format!("{a}.{b}.{}.0/23", c & 0xfe)));
    let third = subnet(&lab, &host).unwrap();
    assert!(third != chosen && third != next, "{third}");
    // Another lab begins elsewhere.
    lab.name = "annex".into();
    assert_ne!(subnet(&lab, &HostFacts::default()).unwrap(), chosen);
    // Wished; and what there is counts more.
    lab.subnet = Some(net("192.168.0.0/24"));
    assert_eq!(subnet(&lab, &host).unwrap(), net("192.168.0.0/24"));
    host.subnet = Some(net("10.86.200.0/24"));
    assert_eq!(subnet(&lab, &host).unwrap(), net("10.86.200.0/24"));
    // None is left.
    (lab.subnet, host.subnet) = (None, None);
    host.taken = vec![net("10.0.0.0/8")];
    let error = subnet(&lab, &host).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Host, "10.86.0.0/16 has no free range on this machine"));
    // A route to everywhere takes nothing.
    host.taken = vec![Subnet { base: Ipv4Addr::UNSPECIFIED, prefix: 0 }];
    assert!(subnet(&lab, &host).is_err());
}

/// The addresses of a lab that is not there yet.
fn chosen(lab: &Lab) -> BTreeMap<String, Ipv4Addr> {
    let host = HostFacts::default();
    addresses(lab, &subnet(lab, &host).unwrap(), &host).unwrap()
}

#[test]
fn addresses_are_written_or_free() {
    let mut lab = lab();
    let of = |lab: &Lab, network: &str| {
        addresses(lab, &net(network), &HostFacts::default())
            .map(|all| all.values().map(ToString::to_string).collect::<Vec<_>>())
    };
    // prod, test, worker
    assert_eq!(of(&lab, "10.86.7.0/24").unwrap(), ["10.86.7.11", "10.86.7.10", "10.86.7.179"]);
    // What is written counts, for whatever it is.
    lab.nodes.get_mut("prod").unwrap().address = Some(Address::Offset(179));
    assert_eq!(of(&lab, "10.86.7.0/24").unwrap(), ["10.86.7.179", "10.86.7.10", "10.86.7.180"]);
    lab.hosts.insert("office".into(), Address::Offset(180));
    assert_eq!(of(&lab, "10.86.7.0/24").unwrap()[2], "10.86.7.181");
    lab.nodes.get_mut("prod").unwrap().address = Some(Address::Full(Ipv4Addr::new(10, 9, 9, 9)));
    assert_eq!(
        of(&lab, "10.86.7.0/24").unwrap_err().message,
        "nodes/prod/node.toml: address: `10.9.9.9` is not in the lab's subnet 10.86.7.0/24"
    );
    lab.nodes.get_mut("prod").unwrap().address = Some(Address::Offset(3));
    lab.nodes.get_mut("test").unwrap().address = Some(Address::Offset(2));
    for n in 0..4 {
        lab.nodes.insert(format!("w{n}"), node(&format!("w{n}"), "test", Role::Worker, None));
    }
    assert_eq!(
        of(&lab, "10.86.7.0/29").unwrap_err().message,
        "there is no free address for the node `w3` in 10.86.7.0/29"
    );
}

#[test]
fn nobody_moves_because_others_come() {
    let mut lab = lab();
    let host = settled(&lab);
    let (network, before) = (subnet(&lab, &host).unwrap(), host.nodes["worker"].address.unwrap());
    // Whoever comes has its own place, also where its name comes first, and whoever is there stays in a full network.
    for n in 0..200 {
        lab.nodes.insert(format!("a{n}"), node(&format!("a{n}"), "test", Role::Worker, None));
    }
    let all = addresses(&lab, &network, &host).unwrap();
    assert_eq!(all["worker"], before);
    assert_eq!(all.values().collect::<std::collections::BTreeSet<_>>().len(), lab.nodes.len());
    let plan =
        up(&lab, "test", &NodeInputs { host: &host, rootfs_identity: IDENTITY, missing_rootfs: vec![] }).unwrap();
    assert!(!plan.steps.iter().any(|step| step.action.to_string().contains("`worker`")), "{plan}");
    // One that another version of lap gave it is kept, too; until somebody writes that for another.
    let mut host = host;
    let old = network.nth(254).unwrap();
    host.nodes.get_mut("worker").unwrap().address = Some(old);
    assert_eq!(addresses(&lab, &network, &host).unwrap()["worker"], old);
    lab.nodes.get_mut("prod").unwrap().address = Some(Address::Offset(254));
    assert_ne!(addresses(&lab, &network, &host).unwrap()["worker"], old);
    // Of another network, it is nobody's.
    assert_eq!(addresses(&lab, &net("10.9.0.0/24"), &host).unwrap()["worker"].octets()[..2], [10, 9]);
}

#[test]
fn a_machine_gets_an_address_beside_its_master() {
    let mut lab = machines();
    lab.nodes.get_mut("worker").unwrap().address = None;
    let address = chosen(&lab)["worker"];
    assert_eq!(address.octets()[..3], [192, 168, 57], "{address}");
    // It is known before the boot and the same in all that is made of it.
    let made = crate::plan::machines::spec(&lab, &lab.nodes["worker"], &chosen(&lab)).unwrap();
    assert_eq!((made.address, made.prefix), (Some(address), 24));
    // Whoever is added takes it from nobody, and one that is there keeps it.
    let mut host = HostFacts::default();
    let is = NodeState { address: Some(Ipv4Addr::new(192, 168, 57, 20)), ..NodeState::default() };
    host.nodes.insert("worker".into(), is);
    lab.nodes.insert("a".into(), Node { provider: Provider::Vagrant, ..node("a", "test", Role::Worker, None) });
    let all = addresses(&lab, &net("192.168.57.0/24"), &host).unwrap();
    assert_eq!(all["worker"], Ipv4Addr::new(192, 168, 57, 20));
    // libvirt's own DHCP has the last one.
    let name = (0..).map(|n| format!("n{n}")).take(400);
    let last = |name: String| {
        let mut lab = lab.clone();
        lab.nodes.insert(name.clone(), Node { provider: Provider::Vagrant, ..node(&name, "test", Role::Worker, None) });
        chosen(&lab)[&name].octets()[3]
    };
    let all: Vec<u8> = name.map(last).collect();
    assert_eq!((all.iter().max(), all.iter().min()), (Some(&253), Some(&127)));
    // Another host's network is another one.
    lab.nodes.get_mut("a").unwrap().vm.host = Some("office2".into());
    let error = addresses(&lab, &net("192.168.57.0/24"), &host).unwrap_err();
    assert_eq!(error.message, "no machine other than the node `a` has an address");
}

#[test]
fn a_machine_that_asks_the_offices_dhcp_has_what_is_seen_there() {
    let mut lab = machines();
    let worker = lab.nodes.get_mut("worker").unwrap();
    (worker.address, worker.vm.bridge) = (None, Some("br0".into()));
    let network = net("192.168.57.0/24");
    let seen = |address: Option<[u8; 4]>| {
        let mut host = HostFacts::default();
        let is = NodeState { running: true, address: address.map(Ipv4Addr::from), ..NodeState::default() };
        host.nodes.insert("worker".into(), is);
        addresses(&lab, &network, &host).unwrap().get("worker").copied()
    };
    assert_eq!(seen(None), None);
    assert_eq!(seen(Some([10, 1, 2, 3])), Some(Ipv4Addr::new(10, 1, 2, 3)), "any network");
    assert_eq!(seen(Some([192, 168, 57, 11])), None, "that of `test`, whatever it says");
    // What it has at the moment is not what it is made from.
    let all = BTreeMap::from([("worker".to_owned(), Ipv4Addr::new(10, 1, 2, 3))]);
    assert_eq!(crate::plan::machines::spec(&lab, &lab.nodes["worker"], &all).unwrap().address, None);
}

/// The lab with virtual machines in the place of containers.
fn machines() -> Lab {
    let mut lab = lab();
    for (n, node) in lab.nodes.values_mut().enumerate() {
        node.provider = Provider::Vagrant;
        node.address = Some(Address::Full(Ipv4Addr::new(192, 168, 57, 10 + n as u8)));
    }
    lab
}

#[test]
fn the_first_machine_of_a_new_box_brings_it() {
    plans(
        &machines(),
        &HostFacts::default(),
        IDENTITY,
        &[
            "0 make the box for libvirt (Vagrant does not have it)",
            "1 make the node `test` (there is none) after 0",
            "2 wait for the node `test` (it boots) after 1",
            "3 make the node `worker` (there is none) after 1",
            "4 wait for the node `worker` (it boots) after 3",
            "5 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn a_machine_is_started_restarted_or_made_anew() {
    use crate::plan::machines::spec;
    let lab = machines();
    let desired = |node: &str| spec(&lab, &lab.nodes[node], &chosen(&lab)).unwrap();
    let mut host = HostFacts::default();
    host.vm.boxes.insert((None, desired("test").base));
    let mut put = |spec: crate::drivers::node::vm::spec::VmSpec, running: bool| {
        let state = if running { "running" } else { "shut off" };
        let is = NodeState {
            running,
            state: state.into(),
            spec: serde_json::to_string(&spec).unwrap(),
            address: spec.address,
            created: 0,
        };
        host.nodes.insert(spec.node, is);
        host.clone()
    };
    put(desired("test"), true);
    plans(&lab, &put(desired("worker"), true), IDENTITY, &[]);
    let base = "2 make the root file system of `base` (not in the cache)";
    for (is, running, first) in [
        (desired("worker"), false, "0 start the node `worker` (it is shut off)"),
        (
            crate::drivers::node::vm::spec::VmSpec { cpus: 1, ..desired("worker") },
            true,
            "0 restart the node `worker` (cpus 1 → 2)",
        ),
        (
            crate::drivers::node::vm::spec::VmSpec { base: "old".into(), ..desired("worker") },
            true,
            "0 make the node `worker` again, with its data (its box changed)",
        ),
    ] {
        plans(&lab, &put(is, running), IDENTITY, &[first, "1 wait for the node `worker` (it boots) after 0", base]);
    }
}

#[test]
fn another_host_has_its_own_box_and_is_not_guessed_about() {
    let mut lab = machines();
    lab.nodes.get_mut("worker").unwrap().vm.host = Some("office2".into());
    let mut host = HostFacts::default();
    host.vm.boxes.insert((None, crate::plan::machines::spec(&lab, &lab.nodes["test"], &chosen(&lab)).unwrap().base));
    plans(
        &lab,
        &host,
        IDENTITY,
        &[
            "0 make the node `test` (there is none)",
            "1 wait for the node `test` (it boots) after 0",
            "2 make the box for libvirt of `office2` (Vagrant does not have it)",
            "3 make the node `worker` (there is none) after 2",
            "4 wait for the node `worker` (it boots) after 3",
            "5 make the root file system of `base` (not in the cache)",
        ],
    );
    host.vm.silent.insert("worker".into(), ("`office2` does not answer".into(), Vec::new()));
    let inputs = NodeInputs { host: &host, rootfs_identity: IDENTITY, missing_rootfs: Vec::new() };
    assert_eq!(up(&lab, "test", &inputs).unwrap_err().message, "`office2` does not answer");
}

#[test]
fn a_box_of_others_is_fetched_once() {
    let mut lab = machines();
    let foreign = |version: Option<&str>| {
        let version = version.map(str::to_owned);
        Some(crate::config::model::ForeignBox { name: "debian/bookworm64".into(), version })
    };
    for name in ["test", "worker"] {
        lab.nodes.get_mut(name).unwrap().vm.foreign = foreign(None);
    }
    let rest = [
        "1 make the node `test` (there is none) after 0",
        "2 wait for the node `test` (it boots) after 1",
        "3 make the node `worker` (there is none) after 1",
        "4 wait for the node `worker` (it boots) after 3",
        "5 make the root file system of `base` (not in the cache)",
    ];
    let fetch = "0 download the box `debian/bookworm64` (the host does not have it)";
    plans(&lab, &HostFacts::default(), IDENTITY, &[&[fetch][..], &rest].concat());
    // One version of it is not another.
    lab.nodes.get_mut("worker").unwrap().vm.foreign = foreign(Some("12.1"));
    let mut host = HostFacts::default();
    host.vm.boxes.insert((None, "debian/bookworm64".into()));
    plans(
        &lab,
        &host,
        IDENTITY,
        &[
            "0 make the node `test` (there is none)",
            "1 wait for the node `test` (it boots) after 0",
            "2 download the box `debian/bookworm64 12.1` (the host does not have it)",
            "3 make the node `worker` (there is none) after 2",
            "4 wait for the node `worker` (it boots) after 3",
            "5 make the root file system of `base` (not in the cache)",
        ],
    );
}

#[test]
fn a_pool_grows_and_never_shrinks() {
    let node = node("test", "test", Role::Master, None);
    let of = |image| {
        let plan = pool::grow(&node, &DataFacts { image, ..DataFacts::default() });
        (plan.to_string(), plan.notes)
    };
    assert_eq!(of(Some(node.disk)), (String::new(), vec![]));
    assert_eq!(of(None), (String::new(), vec![]), "it has a disk of its own");
    assert_eq!(of(Some(512 << 20)).0, "  extend the data pool of `test`  disk 512.0 MiB → 1.0 GiB\n");
    let note = "The data pool of `test` stays at 2.0 GiB: a pool cannot become smaller.";
    assert_eq!(of(Some(2 << 30)), (String::new(), vec![note.to_owned()]));
}
