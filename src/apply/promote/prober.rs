//! Which services are asked while a switch is done, and how long they were away the last time.

use std::{net::IpAddr, time::Duration};

use super::planned::Planned;
use crate::{
    config::model::{Container, Port},
    plan::switch::ContainerAction,
    probe::Service,
    release::{SwitchOutcome, desired_state::DesiredState},
};

/// Between two requests to one service.
pub const EVERY: Duration = Duration::from_millis(20);

/// The TCP ports of what is replaced; whatever is new was not there before.
pub fn services(planned: &Planned) -> Vec<Service> {
    let old = DesiredState::from(planned.old.clone());
    let has_dns = planned.changes.same.iter().any(|name| name == "dns");
    let address = IpAddr::from(planned.master.address());
    let replaced = planned.changes.list.iter().filter(|change| change.act == ContainerAction::Replace);
    let containers = replaced.filter_map(|change| old.containers.get(&change.container));
    let ports = |container: &Container| {
        let name = container.names.first().filter(|_| has_dns).cloned();
        let tcp = container.ports.clone().into_iter().filter(Port::is_public_tcp);
        tcp.map(move |port| Service { name: name.clone(), address, port: port.host }).collect::<Vec<_>>()
    };
    containers.flat_map(ports).collect()
}

/// How long the services that change were away the last time, at most, in milliseconds; `None`: that was never measured.
pub fn expected(planned: &Planned) -> Option<u64> {
    let last = |service: Service| {
        let done = planned.ledger.iter().rev().filter(|entry| entry.result == SwitchOutcome::Done);
        let outages = done.flat_map(|entry| &entry.outage);
        outages.into_iter().find(|outage| outage.service == service.title()).map(|outage| outage.gap)
    };
    services(planned).into_iter().filter_map(last).max()
}
