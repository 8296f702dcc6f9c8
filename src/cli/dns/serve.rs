//! `lap dns serve`

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use lap_base::error::{Kind, OrError, Result};
use lap_nameserver::server;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{common::runtime, value};

/// Answer for the lab's names, and forward the rest
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory of `names.json`; a new file takes effect at once
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// The address to listen on; repeat it for several
    #[arg(long, value_name = "ADDRESS", value_parser = value::ip, env = "LAP_NODE_ADDRESS", default_value = "127.0.0.1", hide_env_values = true)]
    listen: Vec<IpAddr>,
    /// The port, UDP and TCP
    #[arg(long, default_value_t = 53, value_parser = value::port)]
    port: u16,
    /// The file of TSIG keys and their rights, `keys.json`; a new file takes effect at once
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The directory for dynamic names; without it, updates are refused
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The directory of the lower limit for serials; no snapshot may restore it
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Serve Prometheus metrics here, as `/metrics`
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = value::socket)]
    metrics: Option<SocketAddr>,
    /// The same on this port of the first address of `--listen`
    #[arg(long, value_name = "PORT", value_parser = value::port, conflicts_with = "metrics")]
    metrics_port: Option<u16>,
    /// Do not answer on 127.0.0.1 as well
    #[arg(long)]
    no_loopback: bool,
}

impl Args {
    pub fn run(self) -> Result<ExitCode> {
        let Self { config, mut listen, port, keys, data, state, metrics, metrics_port, no_loopback } = self;
        let first = listen.first().copied();
        let metrics = metrics.or_else(|| Some((first?, metrics_port?).into()));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if !no_loopback && !listen.contains(&loopback) {
            listen.push(loopback);
        }
        let listen = listen.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        runtime()?.block_on(async {
            let mut term = signal(SignalKind::terminate()).or_error(Kind::Host, || "cannot wait for signals".into())?;
            let ended = async move {
                tokio::select! { _ = term.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
            };
            let options = server::ServeOptions {
                listen,
                names_dir: config,
                keys,
                data_dir: data,
                state_dir: state,
                metrics,
                build: crate::BUILD.into(),
            };
            server::serve(options, ended).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
