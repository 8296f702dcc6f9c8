//! A data pool that is to be larger. One on a disk of its own is as large as that disk.

use lap_base::words::bytes;

use super::{Action, Plan};
use crate::{config::model::Node, wire::protocol::DataFacts};

/// What it takes until the pool of `node` has the size that its file asks for.
pub fn grow(node: &Node, facts: &DataFacts) -> Plan {
    let mut plan = Plan::new(&node.environment);
    let Some(is) = facts.image.filter(|is| *is != node.disk) else { return plan };
    let (from, to) = (bytes(is), bytes(node.disk));
    if node.disk > is {
        let action = Action::GrowPool { node: node.name.clone(), disk: node.disk };
        plan.push(action, format!("disk {from} → {to}"), []);
    } else {
        plan.notes.push(format!("The data pool of `{}` stays at {from}: a pool cannot become smaller.", node.name));
    }
    plan
}
