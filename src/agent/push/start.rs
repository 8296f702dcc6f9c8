//! Begins to serve the queue.

use super::{queue::Queue, socket};

/// Serves the queue as long as the agent lives: first what was not finished when it ended.
pub fn start() {
    let queue = Queue::default();
    let worker = queue.clone();
    tokio::spawn(async move { worker.work().await });
    if let Err(error) = socket::listen(queue.clone()) {
        eprintln!("agent: {error}");
    }
    tokio::spawn(async move { queue.take_up().await });
}
