//! `lap dns`

mod install;

use crate::report::print::out;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, common::runtime};
use crate::{
    dns,
    error::{Error, Kind, OrError, Result},
};

/// The name server: serve, ask, and have this machine ask it
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Install(install::Args),
    /// Answer for the lab's names, and forward the rest
    Serve {
        /// The directory of `names.json`; a new one there is taken over at once
        #[arg(long, value_name = "DIR")]
        config: PathBuf,
        /// Addresses to answer on; several may be given
        #[arg(
            long,
            value_name = "ADDRESS",
            env = "LAP_NODE_ADDRESS",
            default_value = "127.0.0.1",
            hide_env_values = true
        )]
        listen: Vec<IpAddr>,
        /// The port, UDP and TCP
        #[arg(long, default_value_t = 53)]
        port: u16,
        /// The file of TSIG keys and their rights, `keys.json`; a new one there is taken over at once
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
        /// The directory where dynamic names are kept; none are taken without it
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The directory of the mark below which no serial may fall, outside what snapshots put back
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Serve Prometheus metrics here, as `/metrics`
        #[arg(long, value_name = "ADDRESS:PORT")]
        metrics: Option<SocketAddr>,
        /// Do not answer on 127.0.0.1 as well
        #[arg(long)]
        no_loopback: bool,
    },
    /// Ask a server, and end with 0 only if it has an answer
    Query {
        /// The server that is asked
        #[arg(long, value_name = "ADDRESS")]
        server: IpAddr,
        /// Its port
        #[arg(long, default_value_t = 53)]
        port: u16,
        /// The name that is asked for
        name: String,
        /// The type of record
        #[arg(default_value = "A", value_name = "TYPE")]
        record: String,
    },
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            Verb::Install(args) => args.run(global),
            Verb::Serve { config, mut listen, port, keys, data, state, metrics, no_loopback } => {
                let loopback = IpAddr::from([127, 0, 0, 1]);
                if !no_loopback && !listen.contains(&loopback) {
                    listen.push(loopback);
                }
                let listen = listen.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                runtime()?.block_on(async {
                    let mut term =
                        signal(SignalKind::terminate()).or_error(Kind::Host, || "cannot wait for signals".into())?;
                    let ended = async move {
                        tokio::select! { _ = term.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
                    };
                    let options = dns::ServeOptions {
                        listen,
                        names_dir: config,
                        keys,
                        data_dir: data,
                        state_dir: state,
                        metrics,
                    };
                    dns::serve(options, ended).await?;
                    Ok(ExitCode::SUCCESS)
                })
            }
            Verb::Query { server, port, name, record } => {
                let server = SocketAddr::new(server, port);
                // One question needs no threads.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.or_error(Kind::Host, || "cannot start".into())?;
                let answer = runtime.block_on(dns::query(server, &name, &record, Duration::from_secs(4)))?;
                out!("{answer}");
                if answer.found() {
                    return Ok(ExitCode::SUCCESS);
                }
                Err(Error::new(Kind::Other, format!("`{server}` has no {record} of `{name}`: {}", answer.code)))
            }
        }
    }
}
