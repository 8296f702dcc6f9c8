//! The agent's life: mount `/data`, close what the journal holds, serve, and only then let Docker start containers.

pub mod guest;
pub mod init;
pub mod prepare;
mod run;
pub mod uninstall;

pub use run::run;
