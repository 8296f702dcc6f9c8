//! What would be done, as a value: it can be printed, compared, refused, and carried out by `apply`.
//!
//! Pure: the desired state, the facts and the time are arguments. No async, no I/O.

pub mod addresses;
pub mod containers;
pub mod host;
pub mod machines;
mod needed;
pub mod node_images;
pub mod nodes;
pub mod order;
pub mod pool;
pub mod prepare;

pub mod switch;

use std::{collections::BTreeMap, fmt};

use lap_base::words::plural;
use serde::Serialize;

use crate::config::model::{ForeignBox, Hypervisor, Rootfs, Subnet};

/// Steps, each with what must be done before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    pub environment: String,
    pub steps: Vec<Step>,
    /// Why there is nothing to do, or less than one may think.
    pub notes: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub action: Action,
    pub why: String,
    /// Numbers of the steps that come first; each is smaller than this step's own.
    pub after: Vec<usize>,
}

/// Everything `apply` can do. Each is one sentence when displayed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// A root file system, from packages into the cache.
    MakeRootfs {
        of: String,
        rootfs: Rootfs,
    },
    /// The image of `docker` nodes.
    MakeNodeImage {
        tag: String,
        rootfs: Rootfs,
    },
    /// What Vagrant makes machines from, as a file.
    PackBox {
        hypervisor: Hypervisor,
    },
    /// The same, known to Vagrant, maybe another host's.
    MakeBox {
        hypervisor: Hypervisor,
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A box of others, to Vagrant, maybe another host's.
    FetchBox {
        foreign: ForeignBox,
        hypervisor: Hypervisor,
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    MakeNetwork {
        subnet: Subnet,
    },
    /// Creates the node's container (over its volumes, if there are any) and starts it.
    MakeNode {
        node: String,
        replace: bool,
    },
    StartNode {
        node: String,
    },
    RestartNode {
        node: String,
    },
    /// Until its agent has mounted `/data` and Docker answers.
    AwaitNode {
        node: String,
    },
    UpgradeAgent {
        node: String,
    },
    /// To so many bytes, while everything on it goes on.
    GrowPool {
        node: String,
        disk: u64,
    },
    StopNode {
        node: String,
    },
    RemoveNode {
        node: String,
    },
    RemoveNodeData {
        node: String,
    },
    RemoveNetwork,
    /// Takes lap off a machine that is not lap's.
    LeaveMachine {
        node: String,
        data: bool,
    },
    /// An image from outside that a Dockerfile stands on.
    PullBase {
        image: String,
    },
    /// An image from this machine's Docker to the node's.
    SeedImage {
        image: String,
    },
    /// Who may log in.
    InstallAccess,
    InstallTrust,
    InstallNames,
    /// What the agent does by itself.
    InstallPolicy,
    InstallEnvironment {
        digest: String,
    },
    InstallChecks {
        digest: String,
    },
    /// Secrets of a container; `certificate`: with a new certificate.
    InstallSecrets {
        container: String,
        certificate: bool,
    },
    /// Keys that a container takes over while it runs.
    InstallKeys {
        container: String,
    },
    /// `on`: a builder, if it is not made where it runs.
    Build {
        container: String,
        build: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        on: Option<String>,
    },
    /// Images of these containers, from the builder where they are.
    Bring {
        containers: Vec<String>,
        from: String,
    },
    Pull {
        container: String,
        reference: String,
    },
    Push {
        container: String,
        commit: String,
    },
    /// The registry's image into a file, loadable before any registry runs.
    SaveImage {
        container: String,
    },
    /// The image of a container out of that file.
    LoadImage {
        container: String,
    },
    /// Creates and starts a container, in place of one that is there.
    Run {
        container: String,
        replace: bool,
    },
    AwaitHealthy {
        container: String,
        seconds: u64,
    },
    Remove {
        container: String,
    },
    /// Stops and removes a container that is still desired.
    StopContainer {
        container: String,
    },
    /// What the environment runs from now on.
    Record {
        commit: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeRootfs { of, .. } => write!(f, "make the root file system of `{of}`"),
            Self::MakeNodeImage { .. } => write!(f, "make the root file system of nodes"),
            Self::PackBox { hypervisor } | Self::MakeBox { hypervisor, host: None } => {
                write!(f, "make the box for {}", hypervisor.name())
            }
            Self::MakeBox { hypervisor, host: Some(host) } => {
                write!(f, "make the box for {} of `{host}`", hypervisor.name())
            }
            Self::FetchBox { foreign, host: None, .. } => write!(f, "download the box `{foreign}`"),
            Self::FetchBox { foreign, host: Some(host), .. } => {
                write!(f, "download the box `{foreign}` on `{host}`")
            }
            Self::MakeNetwork { subnet } => write!(f, "make the network {}/{}", subnet.base, subnet.prefix),
            Self::MakeNode { node, replace: false } => write!(f, "make the node `{node}`"),
            Self::MakeNode { node, replace: true } => write!(f, "make the node `{node}` again, with its data"),
            Self::StartNode { node } => write!(f, "start the node `{node}`"),
            Self::RestartNode { node } => write!(f, "restart the node `{node}`"),
            Self::AwaitNode { node } => write!(f, "wait for the node `{node}`"),
            Self::UpgradeAgent { node } => write!(f, "replace the agent on `{node}`"),
            Self::GrowPool { node, .. } => write!(f, "extend the data pool of `{node}`"),
            Self::StopNode { node } => write!(f, "stop the node `{node}`"),
            Self::RemoveNode { node } => write!(f, "remove the node `{node}`"),
            Self::RemoveNodeData { node } => write!(f, "remove all data of the node `{node}`"),
            Self::RemoveNetwork => write!(f, "remove the network"),
            Self::LeaveMachine { node, data: true } => write!(f, "remove lap and all data from the machine `{node}`"),
            Self::LeaveMachine { node, data: false } => write!(f, "remove lap from the machine `{node}`"),
            Self::PullBase { image } => write!(f, "pull `{image}`"),
            Self::SeedImage { image } => write!(f, "copy `{image}`"),
            Self::InstallAccess => write!(f, "set who may log in"),
            Self::InstallTrust => write!(f, "install the lab's certificates"),
            Self::InstallNames => write!(f, "set the names"),
            Self::InstallPolicy => write!(f, "set the snapshots' schedule"),
            Self::InstallEnvironment { .. } => write!(f, "install the environment's files"),
            Self::InstallChecks { .. } => write!(f, "install the checks"),
            Self::InstallSecrets { container, certificate: true } => write!(f, "issue a certificate for `{container}`"),
            Self::InstallSecrets { container, .. } => write!(f, "install the secrets of `{container}`"),
            Self::InstallKeys { container } => write!(f, "set the keys of `{container}`"),
            Self::Build { container, on: None, .. } => write!(f, "build `{container}`"),
            Self::Build { container, on: Some(on), .. } => write!(f, "build `{container}` on `{on}`"),
            Self::Bring { containers, from } => match &containers[..] {
                [one] => write!(f, "send the image of `{one}` from `{from}`"),
                all => write!(f, "send {} from `{from}`", plural(all.len(), "image")),
            },
            Self::Pull { container, .. } => write!(f, "pull `{container}`"),
            Self::Push { container, .. } => write!(f, "push `{container}`"),
            Self::SaveImage { container } => write!(f, "save the image of `{container}`"),
            Self::LoadImage { container } => write!(f, "load the image of `{container}`"),
            Self::Run { container, replace: false } => write!(f, "start `{container}`"),
            Self::Run { container, replace: true } => write!(f, "replace `{container}`"),
            Self::AwaitHealthy { container, .. } => write!(f, "wait until `{container}` is healthy"),
            Self::StopContainer { container } => write!(f, "stop `{container}`"),
            Self::Remove { container } => write!(f, "remove `{container}`"),
            Self::Record { .. } => write!(f, "record what runs"),
        }
    }
}

impl Plan {
    /// An empty plan for this environment.
    pub fn new(environment: impl Into<String>) -> Self {
        Self { environment: environment.into(), ..Self::default() }
    }

    /// Appends a step and returns its number.
    pub fn push(&mut self, action: Action, why: impl Into<String>, after: impl IntoIterator<Item = usize>) -> usize {
        let mut after: Vec<usize> = after.into_iter().collect();
        after.sort_unstable();
        after.dedup();
        self.steps.push(Step { action, why: why.into(), after });
        self.steps.len() - 1
    }
}

/// For a person: a step a line, with its reason.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.action.to_string().chars().count()).max().unwrap_or(0);
        for step in &self.steps {
            writeln!(f, "  {:width$}  {}", step.action.to_string(), step.why)?;
        }
        Ok(())
    }
}

/// Numbers of the steps that make something, by its name: what later steps wait for.
type Made = BTreeMap<String, usize>;

#[cfg(test)]
mod tests;
