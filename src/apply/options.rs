//! How a command works, and on which part of an environment.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::{release::manifest::ReleaseManifest, report::Events, wire::protocol::lock::Holder};

/// How the work is done.
#[derive(Clone)]
pub struct Options {
    pub dry_run: bool,
    /// Wait for the node's lock.
    pub wait: bool,
    pub events: Events,
    /// Turns true on Ctrl-C.
    pub stop: watch::Receiver<bool>,
    /// `anna@notebook`
    pub who: String,
    /// The verb, for the lock.
    pub verb: &'static str,
}

impl Options {
    /// This process, for the node's lock.
    pub fn holder(&self) -> Holder {
        Holder { who: self.who.clone(), verb: self.verb.to_owned(), pid: std::process::id() }
    }
}

/// What of the environment is wanted.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these containers and what they depend on; empty: all.
    pub only: BTreeSet<String>,
    /// Replaced in any case.
    pub again: BTreeSet<String>,
    /// What ran last, without building anything (`lap start`).
    pub as_recorded: bool,
    /// Images only: nothing is started.
    pub build_only: bool,
    /// This, which ran before, instead of the tree.
    pub instead: Option<Box<ReleaseManifest>>,
    /// Nothing on the nodes.
    pub nodes_only: bool,
    /// The node was made anew, and knows the releases of the one before it: that nothing says what runs is no damage.
    pub made_anew: bool,
}

impl Scope {
    /// All of the environment, as its files say.
    pub(super) fn is_all(&self) -> bool {
        self.only.is_empty() && self.again.is_empty() && self.instead.is_none() && !self.as_recorded && !self.build_only
    }
}

/// The first twelve digits of a commit, and what follows its id.
pub fn short(commit: &str) -> String {
    match commit.split_once('-') {
        Some((id, rest)) if id.len() > 12 => format!("{}-{rest}", &id[..12]),
        None if commit.len() > 12 => commit[..12].to_owned(),
        _ => commit.to_owned(),
    }
}
