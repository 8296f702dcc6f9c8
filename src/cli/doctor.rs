//! `lap doctor`

use crate::report::print::outln;
use std::process::ExitCode;

use super::{
    Global,
    common::{print_json, runtime},
};
use crate::{
    error::{Error, Kind, Result},
    observe::doctor::{self, Verdict},
};

/// Check this machine and the workspace; list what is missing or risky
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
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
        Err(Error::new(Kind::Host, format!("{} must be corrected first", crate::words::plural(bad, "thing"))))
    }
}
