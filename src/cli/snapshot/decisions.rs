//! Prints which snapshots stay and why, and asks before others are removed.

use lap_base::{error::Result, words::plural};
use lap_snapshots::keep::RetentionDecision;

use crate::{
    cli::{confirm::Confirm, global::Global},
    report::{print::out, table::table},
};

/// Shows what a prune would remove from `place`, and asks. `false`: there is nothing to remove.
pub fn ask_to_prune(global: &Global, confirm: Confirm, place: &str, would: &[RetentionDecision]) -> Result<bool> {
    if !global.json() {
        print_decisions(would, true);
    }
    match would.iter().filter(|decision| decision.because.is_empty()).count() {
        0 => Ok(false),
        count => confirm.ask(&format!("Remove {} from `{place}`?", plural(count, "snapshot"))).map(|()| true),
    }
}

/// Which stay and which go, and why.
pub fn print_decisions(decisions: &[RetentionDecision], dry_run: bool) {
    let goes = if dry_run { "would be removed" } else { "removed" };
    let rows: Vec<[String; 3]> = decisions
        .iter()
        .map(|d| match d.because.is_empty() {
            true => [d.id.to_string(), goes.into(), "no rule of the policy keeps it".into()],
            false => [d.id.to_string(), "stays".into(), d.because.join("; ")],
        })
        .collect();
    out!("{}", table(["SNAPSHOT", "", "WHY"], &rows));
}
