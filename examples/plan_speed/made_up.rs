//! A lab that nobody has: one environment, 100 nodes, 1,000 containers; and plans of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use lap::{
    config::model::{Address, Container, Environment, Lab, Node, Port, Protocol, Provider, Role, Rootfs},
    drivers::node::docker::HostFacts,
    plan::{
        Plan,
        containers::{Installed, PlanInputs, REGISTRY, up},
        nodes::{self, NodeInputs},
    },
    release::{desired_state::DesiredState, manifest::ImageSpec},
    wire::protocol::NodeFacts,
};

pub const NODES: usize = 100;
pub const CONTAINERS: usize = 1000;

/// The desired.
pub struct MadeUp {
    lab: Lab,
    desired: DesiredState,
    installed: Installed,
}

impl MadeUp {
    pub fn new() -> Self {
        let mut containers = BTreeMap::new();
        let mut images = BTreeMap::new();
        let mut installed = Installed::default();
        for n in 0..CONTAINERS {
            // Ten layers of images, and chains of dependence a few containers long.
            let name = if n == 0 { REGISTRY.to_owned() } else { format!("c{n:04}") };
            let mut container = Container::new(&name);
            container.ports =
                vec![Port { host: 2000 + n as u16, container: 80, protocol: Protocol::Tcp, node_only: false }];
            container.environment = (0..10).map(|k| (format!("KEY_{k}"), format!("value {k} of {n}"))).collect();
            container.depends_on = (1..n.min(4)).map(|k| format!("c{:04}", n - k)).filter(|_| n % 5 != 0).collect();
            let parents =
                if n < CONTAINERS / 10 { Vec::new() } else { vec![format!("c{:04}", n - CONTAINERS / 10 + 1)] };
            images.insert(name.clone(), ImageSpec { build: format!("{n:032x}"), parents, reference: None });
            installed.files.insert(format!("secrets/{name}/tls.key"), format!("{n:064x}"));
            containers.insert(name, container);
        }
        let nodes = (0..NODES).map(|n| {
            let name = format!("n{n:03}");
            let role = if n == 0 { Role::Master } else { Role::Worker };
            let address = (n == 0).then_some(Address::Offset(10));
            let node = Node {
                name: name.clone(),
                environment: "test".into(),
                role,
                provider: Provider::Docker,
                address,
                publish: None,
                cpus: None,
                memory: None,
                disk: 1 << 30,
                filesystem: None,
                ssh: None,
                vm: lap::config::model::Vm::default(),
            };
            (name, node)
        });
        let environment = Environment {
            name: "test".into(),
            description: String::new(),
            promote_from: None,
            upstreams: Vec::new(),
            on_failure: lap::config::model::OnFailure::Keep,
            master: "n000".into(),
            builder: None,
        };
        let lab = Lab {
            name: "made-up".into(),
            root: "/made-up".into(),
            default_environment: "test".into(),
            subnet: None,
            operators: BTreeMap::new(),
            grants: BTreeMap::new(),
            hosts: BTreeMap::new(),
            pcs: BTreeMap::new(),
            dns: lap::config::model::Dns::default(),
            snapshot: None,
            repositories: BTreeMap::new(),
            copies: Default::default(),
            promote: Default::default(),
            environments: [("test".to_owned(), environment)].into(),
            nodes: nodes.collect(),
            containers: containers.clone(),
            rootfs: Rootfs::default(),
        };
        let desired = DesiredState {
            commit: "c1".into(),
            containers,
            images,
            env: "e1".into(),
            checks: String::new(),
            release: None,
        };
        Self { lab, desired, installed }
    }

    /// The plans of a first `lap up`: every node, then every container.
    pub fn plan(&self) -> [Plan; 2] {
        let host = HostFacts::default();
        let inputs = NodeInputs { host: &host, rootfs_identity: "r1", missing_rootfs: Vec::new() };
        let nodes = nodes::up(&self.lab, "test", &inputs).expect("an address is free for every node");
        let containers = up(
            "test",
            &PlanInputs {
                desired: &self.desired,
                node: &NodeFacts::default(),
                builder: None,
                installed: &self.installed,
                missing_rootfs: &BTreeMap::new(),
                again: &BTreeSet::new(),
                only: &BTreeSet::new(),
                build: true,
                start: true,
            },
        );
        [nodes, containers]
    }

    /// How long that took, the median of `runs`; and how many steps there are.
    pub fn measure(&self, runs: usize) -> (Duration, usize) {
        let mut times = Vec::new();
        let mut steps = 0;
        for _ in 0..runs {
            let began = Instant::now();
            let plans = std::hint::black_box(self.plan());
            times.push(began.elapsed());
            steps = plans.iter().map(|plan| plan.steps.len()).sum();
        }
        times.sort();
        (times[runs / 2], steps)
    }
}
