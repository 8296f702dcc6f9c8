//! Waits until the node can be used.

use std::time::Duration;

use lap_base::error::{Error, Kind, Result};

use crate::{
    agent::{daemons, docker, pool},
    wire::paths,
};

/// Polls, because dockerd has no other way to say that it is ready here; 10 ms is a fraction of its own start.
pub(super) async fn ready(patience: Duration) -> Result<()> {
    let wait = async {
        loop {
            if pool::is_mounted(paths::DATA) && docker::connect().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.map_err(|_| {
        let tail = daemons::docker_log_tail();
        Error::new(Kind::Node, format!("Docker on the node does not answer after {} s\n{tail}", patience.as_secs()))
            .hint("read /var/log/dockerd.log with `lap ssh`")
    })
}
