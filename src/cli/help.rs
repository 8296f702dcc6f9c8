//! `lap help`

use std::process::ExitCode;

use lap_base::error::{Error, Kind, Result};
use lap_base::exit;

use super::{moved, reference};
use crate::{
    config,
    report::{print::out, table::table},
};

/// What `lap help` explains beside the verbs.
pub const TOPICS: &str =
    "Topics of `lap help`: options, exit-codes, lap.toml, node.toml, container.toml,\n  env.toml, rootfs.toml";

/// Explain a command, `options`, `exit-codes`, or a file of the workspace (`lap.toml`, …)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A command, `options`, `exit-codes`, or a file
    topic: Vec<String>,
}

impl Args {
    pub fn run(self, mut command: clap::Command) -> Result<ExitCode> {
        // Names and defaults are worked out as in a run.
        command.build();
        let Some(first) = self.topic.first() else {
            out!("{}", command.render_help());
            return Ok(ExitCode::SUCCESS);
        };
        if first == "exit-codes" {
            let rows: Vec<[String; 3]> = exit::TABLE
                .iter()
                .map(|(code, name, what)| [code.to_string(), (*name).into(), (*what).into()])
                .collect();
            out!("{}", table(["CODE", "NAME", "MEANING"], &rows));
            return Ok(ExitCode::SUCCESS);
        }
        if first == "options" {
            out!("{}", reference::options(&command));
            return Ok(ExitCode::SUCCESS);
        }
        if first == "reference" {
            out!("{}", reference::markdown(&command));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(text) = config::example(first) {
            out!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        let mut found = &mut command;
        for word in &self.topic {
            found = found
                .find_subcommand_mut(word)
                .ok_or_else(|| Error::new(Kind::Usage, format!("there is no help on `{word}`")).hint(instead(word)))?;
        }
        out!("{}", found.render_long_help());
        Ok(ExitCode::SUCCESS)
    }
}

/// Where else to look for help.
fn instead(word: &str) -> String {
    match moved::now(word) {
        Some(now) => {
            let verb = now.split(' ').next().unwrap_or_default();
            format!("`lap {now}` does that now: `lap help {verb}`")
        }
        None => "`lap help` lists commands and topics".to_owned(),
    }
}
