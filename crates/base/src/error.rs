//! The one error type: a kind (which fixes the exit code), a message, and hints on what to do next.
//!
//! Messages are lower case, without a final period, name the thing in backticks, and say "cannot X".

use std::fmt;

/// What went wrong, as far as a script that calls `lap` needs to know. Each kind has one exit code (see [`crate::exit`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// The workspace is wrong: nothing outside was touched.
    Config,
    /// Something this machine needs is missing or not running.
    Host,
    /// A node answers, and reports an error or a wrong answer.
    Node,
    /// There is no connection to a node, or it ended before the answer came.
    Disconnected,
    /// An image could not be built.
    Build,
    /// A container does not do what it should.
    Unhealthy,
    /// Somebody else holds the lock, or took it over.
    Locked,
    /// A key is missing or wrong.
    Keys,
    /// The command would lose or break something.
    Refused,
    /// Stopped by the user.
    Interrupted,
    /// Everything else; a bug if it is seen often.
    Other,
}

/// An error that can be shown as it is: one sentence that names the thing, and the next steps.
#[derive(Debug)]
pub struct Error {
    /// Decides heading and exit code.
    pub kind: Kind,
    /// One sentence, lower case, no final period. More lines may follow (a build's last output).
    pub message: String,
    /// What to do next, each one sentence.
    pub hints: Vec<String>,
}

/// The result of everything that can fail in `lap`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Kind {
    /// The node is at fault, or the way to it.
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::Node | Self::Disconnected)
    }
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// The same error with one more hint.
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

/// Turns any failure into an [`Error`] that names its object: `read(path).or_error(Kind::Host, || format!("cannot read `{path}`"))`.
pub trait OrError<T> {
    /// The message becomes "`what`: the cause".
    fn or_error(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> OrError<T> for std::result::Result<T, E> {
    fn or_error(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(kind, format!("{}: {cause}", what())))
    }
}
