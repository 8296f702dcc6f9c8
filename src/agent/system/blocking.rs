//! Work that blocks, out of the way of what must not wait.

use lap_base::error::{Kind, OrError, Result};

/// Work that blocks, on a thread of its own.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the agent".into())?
}
