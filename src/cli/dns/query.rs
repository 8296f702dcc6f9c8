//! `lap dns query`

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_nameserver::client::query::query;

use crate::{cli::value, report::print::out};

/// Ask a server, and end with 0 only if it has an answer
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The server that is asked
    #[arg(long, value_name = "ADDRESS", value_parser = value::ip)]
    server: IpAddr,
    /// Its port
    #[arg(long, default_value_t = 53, value_parser = value::port)]
    port: u16,
    /// The zone of `@`
    #[arg(long, env = "LAP_ZONE", default_value = "internal", hide_env_values = true)]
    zone: String,
    /// The name to query; `@` is the lab's zone
    name: String,
    /// The type of record
    #[arg(default_value = "A", value_name = "TYPE")]
    record: String,
}

impl Args {
    pub fn run(self) -> Result<ExitCode> {
        let Self { server, port, zone, name, record } = self;
        let name = if name == "@" { zone } else { name };
        let server = SocketAddr::new(server, port);
        // One question needs no threads.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_error(Kind::Host, || "cannot start".into())?;
        let answer = runtime.block_on(query(server, &name, &record, Duration::from_secs(4)))?;
        out!("{answer}");
        if answer.found() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Error::new(Kind::Other, format!("`{server}` has no {record} of `{name}`: {}", answer.code)))
    }
}
