//! The lock of a node, as both sides speak about it.

use serde::{Deserialize, Serialize};

/// Who holds a lock, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `anna@notebook`
    pub who: String,
    /// The verb, e.g. `up`.
    pub verb: String,
    /// Process on that machine.
    pub pid: u32,
}

impl Holder {
    /// The agent itself, after a start, until what was killed is finished or taken back.
    pub fn recovery() -> Self {
        Self { who: "agent".into(), verb: "restore".into(), pid: std::process::id() }
    }

    /// Whether it is that.
    pub fn is_recovery(&self) -> bool {
        self.who == "agent" && self.verb == "restore"
    }
}

/// What the holder of the lock tells the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// A step begins.
    Step(String),
    /// A step is done.
    Did(String),
    /// All is done, or failed with this message.
    End(Result<(), String>),
}
