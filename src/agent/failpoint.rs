//! Where a test asked for it, the agent dies before a step, or waits there until the test has killed the node.

use std::{fs, time::Duration};

/// What a test writes the step into; `node ` before it: the node is to be killed there.
const FILE: &str = "/run/lap/die-at";

/// Called before each step.
pub fn at(step: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let asked = fs::read_to_string(FILE).unwrap_or_default();
    let whole_node = asked.trim().strip_prefix("node ");
    if whole_node.unwrap_or(asked.trim()) != step {
        return;
    }
    let _ = fs::remove_file(FILE);
    if whole_node.is_some() {
        std::thread::sleep(Duration::from_secs(60));
    } else {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}
