//! The error type of lap: a kind, which gives the exit code; a message; and hints that name the next step.
//!
//! A message is lower case, has no final period, has names in backticks, and says "cannot X".

use std::fmt;

/// The kinds of errors that a script must be able to distinguish. Each kind has one exit code (see [`crate::exit`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// The workspace has an error. Nothing outside the workspace was changed.
    Config,
    /// A program or a resource of this machine is missing or does not work.
    Host,
    /// A node answers, and reports an error or sends a wrong answer.
    Node,
    /// There is no connection to a node, or the connection ended before the answer.
    Disconnected,
    /// An image could not be built.
    Build,
    /// A container does not run, or is not healthy.
    Unhealthy,
    /// Another command holds the lock, or took it over.
    Locked,
    /// A key is missing or wrong.
    Keys,
    /// The command would lose or break something.
    Refused,
    /// The user stopped the command.
    Interrupted,
    /// Any other error. If users see it often, it is a bug.
    Other,
}

/// An error that is ready to be shown: a sentence that names the object, and the next steps.
#[derive(Debug)]
pub struct Error {
    /// Gives the heading and the exit code.
    pub kind: Kind,
    /// One sentence in lower case, without a final period. More lines may follow, for example the last output of a
    /// build.
    pub message: String,
    /// The next steps, one sentence each.
    pub hints: Vec<String>,
}

/// The result type of lap's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Kind {
    /// Returns whether the node, or the connection to it, caused the error.
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::Node | Self::Disconnected)
    }
}

impl Error {
    /// Returns an error without hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Converts any error into an [`Error`] that names its object: `read(path).or_error(Kind::Host, || format!("cannot read
/// `{path}`"))`.
pub trait OrError<T> {
    /// Converts the error. The message becomes "`what`: the cause".
    fn or_error(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> OrError<T> for std::result::Result<T, E> {
    fn or_error(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(kind, format!("{}: {cause}", what())))
    }
}
