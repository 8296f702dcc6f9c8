//! `lap logs`

use std::{io::Write, process::ExitCode, time::Duration};

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use lap_base::error::{Error, Kind, Result};

use super::{address::OneAddress, common::runtime, global::Global, value};
use crate::apply::master::Master;

/// Show the output of a container
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap logs [OPTIONS] <ADDRESS>")]
pub struct Args {
    #[command(flatten)]
    address: OneAddress,
    /// Follow new output
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = value::count)]
    tail: Option<usize>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, container) = self.address.find(&workspace)?;
        runtime()?.block_on(async {
            let master = Master::connect(workspace.clone(), &environment, Duration::from_secs(2)).await?;
            let docker = master.node.client.docker(None)?;
            let tail = self.tail.map_or_else(|| "all".to_owned(), |count| count.to_string());
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(self.follow).tail(&tail).build();
            let mut lines = docker.logs(&format!("infra_{container}"), Some(options));
            let mut out = std::io::stdout().lock();
            while let Some(line) = lines.next().await {
                let line = line.map_err(|error| {
                    Error::new(Kind::Unhealthy, format!("`{container}` has no log: {error}"))
                        .hint(format!("`lap status {}` shows whether it runs", environment.name))
                })?;
                // A closed pipe (`| head`) is no error.
                if out.write_all(&line.into_bytes()).is_err() {
                    break;
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
