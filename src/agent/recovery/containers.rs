//! What needs Docker: containers that an interrupted restore had stopped, and what a hook had frozen.

use lap_base::error::Result;

use super::pending::needs_containers;
use crate::agent::{clone_data, data::hooks, docker, snapshots, system::blocking::run_blocking};

/// Once Docker answers: starts what an interrupted restore had stopped, and lets go on what a hook had frozen. What one of these cannot do
/// does not keep the others from it. The log hears of each step with `tell`.
///
/// # Errors
/// The first that cannot be done now; call it again.
pub async fn recover_containers(tell: bool) -> Result<()> {
    if !needs_containers() {
        return Ok(());
    }
    let docker = docker::connect().await?;
    let thawed = hooks::recover(&docker).await;
    let scrubbed = if clone_data::is_pending() { clone_data::recover(&docker).await } else { Ok(()) };
    let recovered = run_blocking(move || {
        let note: Box<dyn Fn(&str) + Send> = Box::new(move |step| {
            if tell {
                eprintln!("agent: restore: {step}")
            }
        });
        snapshots::recover(Some(docker), note)
    });
    let said = recovered.await?;
    said.iter().for_each(|said| eprintln!("agent: {said}"));
    thawed.and(scrubbed)
}
