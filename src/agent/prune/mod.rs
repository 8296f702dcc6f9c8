//! Removes what is not needed any more. It looks, decides and acts under the lock, so that a decision is still right when it is carried
//! out. After a kill what is left is whole, and the next prune goes on.

mod act;
mod docker;
mod inventory;
mod recover;
pub mod registry;
mod run;

pub use act::OnStep;
pub use recover::{is_pending, recover, recover_at_start};
pub use run::{look_and_decide, run};
