//! Programs of the workspace that are run before and after each phase of a promotion, on the operator's machine: those of the commit that
//! is promoted, since they were tested with it. One that fails stops the promotion there.

mod find;
pub mod hook;
mod late;
mod program;
pub mod run;

pub use find::FoundHooks;
pub use late::{after_done, last_word};

#[cfg(test)]
mod tests;
