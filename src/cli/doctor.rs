//! `lap doctor`

mod conformance;

use std::process::ExitCode;

use conformance::Conformance;
use lap_base::error::{Error, Kind, Result};

use super::{
    common::{print_json, runtime},
    global::Global,
};
use crate::{
    observe::{doctor, finding::Verdict},
    report::print::outln,
};

/// Check this machine and the workspace; list what is missing or risky
///
/// With `--conformance`, lap tests on this machine that a node can do all that lap needs, in a lab that it makes for the test and removes
/// again: boot, address, names, ssh, push and pull, snapshot, restore, promotion, halt, second boot, power cut, destroy. The exit code is 0
/// only if each scenario passes; a scenario that is not possible here does not pass. The test needs no workspace. Its lab is called
/// `conformance`, or as `--lab` says; lap does not touch a lab of this name that exists.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    conformance: Conformance,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        if self.conformance.is_asked() {
            return self.conformance.run(global, self.json);
        }
        let workspace = global.workspace()?;
        let findings = runtime()?.block_on(doctor::examine(&workspace));
        if self.json || global.json() {
            print_json(&findings)?;
        } else {
            for finding in &findings {
                outln!("{:4}  {}", finding.verdict.word(), finding.text);
            }
        }
        let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
        if bad == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Error::new(Kind::Host, format!("{} must be corrected first", lap_base::words::plural(bad, "thing"))))
    }
}
