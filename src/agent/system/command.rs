//! Programs of the node.

use std::process::Command;

use lap_base::error::{Error, Kind, OrError, Result};

/// Runs a command to its end; its error output becomes the message.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().or_error(Kind::Node, || format!("cannot run `{name}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Kind::Node, format!("`{name} {args}` failed: {said}")))
}
