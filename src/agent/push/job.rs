//! One commit that is built, and what is said about it.

use std::{
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, BufReader},
    process::Command,
    sync::Notify,
};

use super::output::{self, Output};

/// A wake-up that comes between two looks is seen at the next one.
const LOOK: Duration = Duration::from_millis(100);

/// The number behind the reason of a failed build.
const SAID: usize = usize::MAX;

/// A commit to be built.
pub struct BuildJob {
    pub commit: String,
    /// `anna@git`
    pub who: String,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    output: Output,
    ended: Option<Result<(), String>>,
}

impl BuildJob {
    pub fn new(commit: &str, who: &str) -> Self {
        Self { commit: commit.to_owned(), who: who.to_owned(), state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_over(&self) -> bool {
        self.state().ended.is_some()
    }

    pub fn say(&self, line: String) {
        self.state().output.push(line);
        self.changed.notify_waiters();
    }

    pub fn end(&self, result: Result<(), String>) {
        self.state().ended.get_or_insert(result);
        self.changed.notify_waiters();
    }

    /// The line with the number `at`, and the number of the next one; `None`: it is over, and all was said.
    pub async fn next(&self, at: usize) -> Option<(String, usize)> {
        loop {
            {
                let state = self.state();
                if let Some(line) = state.output.line(at) {
                    return Some(line);
                }
                match &state.ended {
                    // Its reason comes last, unless it was said already or this is the line after it.
                    Some(Err(why)) if at != SAID && !state.output.newest().any(|said| said.ends_with(why)) => {
                        return Some((why.clone(), SAID));
                    }
                    Some(_) => return None,
                    None => {}
                }
            }
            let _ = tokio::time::timeout(LOOK, self.changed.notified()).await;
        }
    }

    /// Builds it; what failed is the last thing that was said.
    pub async fn run(&self) -> Result<(), String> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["agent", "build", &self.commit, &self.who]);
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It works under a lock that ends with this agent.
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("cannot build: {error}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        tokio::join!(self.hear(out), self.hear(err));
        match child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.why().unwrap_or_else(|| format!("the build ended with {status}"))),
            Err(error) => Err(format!("cannot build: {error}")),
        }
    }

    async fn hear(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut stream = BufReader::new(stream);
        while let Some(line) = output::next_line(&mut stream).await {
            self.say(line);
        }
    }

    /// What its `error:` said.
    fn why(&self) -> Option<String> {
        self.state().output.newest().find_map(|line| line.strip_prefix("error: ").map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_late_hears_all_of_it() {
        let job = BuildJob::new("c", "anna@git");
        job.say("one".into());
        job.end(Err("it broke".into()));
        assert_eq!(job.next(0).await, Some(("one".into(), 1)));
        assert_eq!(job.next(1).await, Some(("it broke".into(), SAID)));
        assert_eq!(job.next(SAID).await, None);
        job.end(Ok(()));
        assert!(job.is_over() && job.next(1).await.is_some(), "the first end counts");
    }
}
