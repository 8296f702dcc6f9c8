//! What was interrupted comes to its end: the agent does this by itself at its start, and a command does it before it changes anything.

mod containers;
mod data;
mod pending;
mod progress;
mod repeat;
mod revive;
mod settle;
mod status;

pub use containers::recover_containers;
pub use data::recover_data;
pub use pending::is_pending;
pub use progress::RecoveryProgress;
pub use repeat::Recovery;
pub use revive::revive;
pub use settle::settle;
pub use status::recovering;
