//! `lap node image`

use std::process::ExitCode;

use lap_base::error::Result;

use super::super::common::Changing;
use crate::{
    apply::image,
    cli::global::Global,
    config::model::{Hypervisor, Provider},
    report::print::outln,
};

/// Build the image of nodes: for Docker, or a box for Vagrant
///
/// `lap up` itself builds the images that it needs, from nodes/rootfs.toml with Debian's signed packages.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The provider
    #[arg(long = "for", value_name = "WHAT", default_value = "docker", value_parser = ["docker", "libvirt", "virtualbox"])]
    what: String,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let what = match self.what.as_str() {
            "libvirt" => (Provider::Vagrant, Hypervisor::Libvirt),
            "virtualbox" => (Provider::Vagrant, Hypervisor::Virtualbox),
            _ => (Provider::Docker, Hypervisor::default()),
        };
        let made = global.work("node image", &Changing::default(), |options| {
            let workspace = workspace.clone();
            async move { image::make(workspace, what, &options).await }
        })?;
        outln!("{made}");
        Ok(ExitCode::SUCCESS)
    }
}
