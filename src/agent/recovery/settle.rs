//! What was interrupted comes to its end before a command changes anything.

use lap_base::error::Result;
use tokio::runtime::Handle;

use crate::agent::{data::freeze, docker, snapshots, switch};

/// Before anything that changes snapshots or data: a restore that failed in the middle comes to its end first.
///
/// # Errors
/// It still cannot.
pub fn settle() -> Result<()> {
    snapshots::wait();
    freeze::recover()?;
    settle_data()?;
    let said = Handle::current().block_on(switch::recover(&switch::SwitchWatch::default(), true))?;
    said.into_iter().for_each(|said| eprintln!("agent: {said}"));
    Ok(())
}

fn settle_data() -> Result<()> {
    if !snapshots::is_pending() {
        return Ok(());
    }
    let note: Box<dyn Fn(&str) + Send> = Box::new(|step| eprintln!("agent: restore: {step}"));
    let docker = Some(Handle::current().block_on(docker::connect())?);
    snapshots::recover(docker, note).map(drop).map_err(|error| {
        error.hint("an earlier restore is not complete; the agent repeats it until it succeeds, and `lap status` shows its state")
    })
}
