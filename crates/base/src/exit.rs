//! The exit codes. `lap help exit-codes` prints [`TABLE`].

use crate::error::Kind;

/// The code, the name and the meaning of each way in which `lap` can end.
pub const TABLE: &[(u8, &str, &str)] = &[
    (0, "ok", "the command succeeded, or there was nothing to do"),
    (1, "other", "another error"),
    (2, "usage", "the command line is wrong, or a question has no answer: there is no terminal and no `--yes`"),
    (3, "config", "the workspace has an error; nothing was changed"),
    (4, "host", "this machine has a problem: Docker does not answer, a port is in use, the disk is full"),
    (5, "node", "a node does not answer, or answers incorrectly"),
    (6, "build", "an image could not be built"),
    (7, "unhealthy", "a container does not run or is not healthy"),
    (8, "locked", "another command holds the node's lock, or took it over"),
    (9, "keys", "a key is missing or wrong"),
    (10, "refused", "refused: the command would lose or break something"),
    (130, "interrupted", "stopped with Ctrl-C, or you answered no"),
];

/// Returns the exit code for errors of `kind`.
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Other => 1,
        Kind::Usage => 2,
        Kind::Config => 3,
        Kind::Host => 4,
        Kind::Node | Kind::Disconnected => 5,
        Kind::Build => 6,
        Kind::Unhealthy => 7,
        Kind::Locked => 8,
        Kind::Keys => 9,
        Kind::Refused => 10,
        Kind::Interrupted => 130,
    }
}
