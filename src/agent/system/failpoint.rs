//! Where a test asked for it, the agent dies before a step, or waits there until the test has done something to the node.

use std::{
    fs,
    time::{Duration, Instant},
};

/// What a test writes the step into; `node ` before it: the node is to be killed there; `pause `: the agent goes on as soon as the test
/// has removed [`REACHED`].
const FILE: &str = "/run/lap/die-at";
/// There as long as it waits.
const REACHED: &str = "/run/lap/reached";
/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Called before each step.
pub fn at(step: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let asked = fs::read_to_string(FILE).unwrap_or_default();
    let asked = asked.trim();
    let (how, at) =
        ["node ", "pause "].iter().find_map(|how| asked.strip_prefix(how).map(|at| (*how, at))).unwrap_or(("", asked));
    if at != step {
        return;
    }
    if how == "pause " {
        let _ = fs::write(REACHED, "");
    }
    let _ = fs::remove_file(FILE);
    let begun = Instant::now();
    match how {
        "node " => std::thread::sleep(PATIENCE),
        "pause " => {
            while fs::exists(REACHED).unwrap_or_default() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
