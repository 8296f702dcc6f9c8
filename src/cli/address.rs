//! The containers that a command works on, as the person names them.

use lap_base::error::Result;

use crate::{
    config::{
        app_address::{KnownApplications, one, several},
        model::Environment,
    },
    workspace::Workspace,
};

/// For commands that take several containers, or all of an environment.
#[derive(clap::Args, Clone, Debug)]
pub struct Addresses {
    /// An environment, or containers as `[environment/]application[/service[/copy]]`
    /// [default: all of `default` in lap.toml]
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
}

impl Addresses {
    /// The environment and the names of the containers; no names: all.
    pub fn find(&self, workspace: &Workspace, known: KnownApplications) -> Result<(Environment, Vec<String>)> {
        let (environment, containers) = several(&workspace.lab, &self.addresses, known)?;
        Ok((environment.clone(), containers))
    }
}

/// For commands that take one container.
#[derive(clap::Args, Clone, Debug)]
pub struct OneAddress {
    /// The container, as `[environment/]application[/service[/copy]]`
    #[arg(required = true, num_args = 1..=2, value_name = "ADDRESS")]
    address: Vec<String>,
}

impl OneAddress {
    /// The environment and the name of the container.
    pub fn find(&self, workspace: &Workspace) -> Result<(Environment, String)> {
        let (environment, container) = one(&workspace.lab, &self.address)?;
        Ok((environment.clone(), container))
    }
}
