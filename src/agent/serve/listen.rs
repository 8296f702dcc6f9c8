//! The agent's socket.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use lap_base::error::{Kind, OrError, Result};
use tokio::{io::BufReader, net::UnixListener};

use super::{agent::Agent, dispatch};
use crate::wire::paths;

/// Binds the socket, for root only.
///
/// # Errors
/// Names the path.
pub fn listen() -> Result<UnixListener> {
    let what = || format!("cannot listen on `{}`", paths::SOCKET);
    if let Some(dir) = Path::new(paths::SOCKET).parent() {
        fs::create_dir_all(dir).or_error(Kind::Node, what)?;
    }
    let _ = fs::remove_file(paths::SOCKET);
    let listener = UnixListener::bind(paths::SOCKET).or_error(Kind::Node, what)?;
    fs::set_permissions(paths::SOCKET, fs::Permissions::from_mode(0o600)).or_error(Kind::Node, what)?;
    Ok(listener)
}

/// Answers until the agent ends.
pub async fn serve(listener: UnixListener, agent: Agent) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let agent = agent.clone();
                tokio::spawn(async move { dispatch::connection(&agent, BufReader::new(stream)).await });
            }
            Err(error) => {
                eprintln!("agent: accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
