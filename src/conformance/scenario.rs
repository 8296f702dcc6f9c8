//! What must be true of every kind of node.

use serde::Serialize;

/// What the lab is called that is made for it.
pub const NAME: &str = "conformance";

/// What the nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    Docker,
    Libvirt,
    Virtualbox,
    /// A machine that exists.
    Ssh,
}

impl On {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Libvirt => "libvirt",
            Self::Virtualbox => "virtualbox",
            Self::Ssh => "ssh",
        }
    }
}

/// One of the things that must be true of every kind of node. In this order: each begins with what the one before left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Boot,
    Address,
    Names,
    Ssh,
    PushAndPull,
    Snapshot,
    Restore,
    Promote,
    Halt,
    BootAgain,
    PowerCut,
    Destroy,
}

impl Scenario {
    pub const ALL: [Self; 12] = [
        Self::Boot,
        Self::Address,
        Self::Names,
        Self::Ssh,
        Self::PushAndPull,
        Self::Snapshot,
        Self::Restore,
        Self::Promote,
        Self::Halt,
        Self::BootAgain,
        Self::PowerCut,
        Self::Destroy,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Address => "address",
            Self::Names => "names",
            Self::Ssh => "ssh",
            Self::PushAndPull => "push and pull",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Promote => "promote",
            Self::Halt => "halt",
            Self::BootAgain => "second boot",
            Self::PowerCut => "power loss",
            Self::Destroy => "destroy",
        }
    }

    /// What must have passed for this one to say anything.
    pub(super) const fn needs(self) -> Option<Self> {
        match self {
            Self::Boot | Self::Destroy => None,
            Self::Restore => Some(Self::Snapshot),
            Self::BootAgain => Some(Self::Halt),
            _ => Some(Self::Boot),
        }
    }
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "why", rename_all = "kebab-case")]
pub enum ScenarioResult {
    Passed,
    Failed(String),
    /// Nothing is wrong, and nothing was shown either.
    NotPossible(String),
    /// Another one failed before.
    NotTried(String),
}
