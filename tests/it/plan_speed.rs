//! Planning 1,000 containers on 100 nodes. Says how long it took and never fails for that: `cargo run --release --example
//! plan_speed` measures.

#[path = "../../examples/plan_speed/made_up.rs"]
mod made_up;

use made_up::{CONTAINERS, MadeUp, NODES};

#[test]
fn a_big_lab_is_planned() {
    let lab = MadeUp::new();
    let [nodes, containers] = lab.plan();
    // Image and network; each node made and waited for.
    assert_eq!(nodes.steps.len(), 2 + 2 * NODES);
    // Each built, started, waited for, pushed, given its secrets; the environment, the registry's file, the record.
    assert_eq!(containers.steps.len(), 5 * CONTAINERS + 3);
    let (median, steps) = lab.measure(3);
    println!("planning {CONTAINERS} containers on {NODES} nodes: {steps} steps in {median:?} (this build)");
}
