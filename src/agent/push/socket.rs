//! The socket that the git container's hook speaks to. One verb: "the branch is now at this commit", a line `<commit> <who>`; what is
//! said about it comes back as lines, until it is over.
//!
//! The git container may be hostile: connections, their requests and their patience are bounded, so that it cannot keep the agent from
//! its work.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    time::timeout,
};

use super::{job::BuildJob, queue::Queue};
use crate::wire::paths;

/// A line is not longer.
const MOST: u64 = 200;
/// Nor does it take longer to come, and a line of ours to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that may say what was pushed, at a time.
const MOST_ASKING: usize = 16;
/// Connections that are shown a build, at a time.
const MOST_WATCHING: usize = 64;

/// The places on the socket. Cheap to clone.
#[derive(Clone)]
struct Places {
    asking: Arc<Semaphore>,
    watching: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Places {
    fn default() -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { asking: places(MOST_ASKING), watching: places(MOST_WATCHING), patience: PATIENCE }
    }
}

/// Listens.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(queue: Queue) -> Result<()> {
    let dir = Path::new(paths::PUSH);
    let path = dir.join("push.sock");
    let what = || format!("cannot listen on `{}`", path.display());
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).or_error(Kind::Node, what)?;
    // The directory is seen by git's container alone, whose git is not root.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).or_error(Kind::Node, what)?;
    tokio::spawn(serve(listener, Places::default(), move |commit: String, who: String| {
        let queue = queue.clone();
        async move { queue.submit(&commit, &who).await }
    }));
    Ok(())
}

/// Accepts for ever; `submit` gives the job of a commit.
async fn serve<F>(
    listener: UnixListener,
    places: Places,
    submit: impl Fn(String, String) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Result<Arc<BuildJob>>> + Send,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (places, submit) = (places.clone(), submit.clone());
                // One connection too many is told so at once; the kernel takes the line, whether or not it is read.
                let Ok(place) = places.asking.clone().try_acquire_owned() else {
                    let _ = stream.try_write(b"too many pushes at the same time: push again, or run `lap status`\n");
                    continue;
                };
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let job = ask(read, &places, &submit).await;
                    drop(place);
                    match job {
                        Some(Ok(job)) => show(&job, &mut write, &places).await,
                        Some(Err(error)) => {
                            let _ = say(&mut write, &error.message, &places).await;
                        }
                        None => {}
                    }
                });
            }
            Err(error) => {
                eprintln!("agent: push: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads one request and has it done; `None`: none came.
async fn ask<F: Future<Output = Result<Arc<BuildJob>>>>(
    read: OwnedReadHalf,
    places: &Places,
    submit: impl Fn(String, String) -> F,
) -> Option<Result<Arc<BuildJob>>> {
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MOST));
    match (timeout(places.patience, read.read_line(&mut line)).await, parse(&line)) {
        (Ok(Ok(_)), Ok((commit, who))) => Some(submit(commit.to_owned(), who.to_owned()).await),
        (Ok(Ok(_)), Err(error)) => Some(Err(error)),
        _ => None,
    }
}

/// Shows a job to its end, or until the other side is gone or takes nothing any more.
async fn show(job: &BuildJob, write: &mut OwnedWriteHalf, places: &Places) {
    let Ok(_place) = places.watching.clone().try_acquire_owned() else {
        let _ = say(write, "too many connections watch builds; this build continues: run `lap status`", places).await;
        return;
    };
    let mut at = 0;
    while let Some((line, next)) = job.next(at).await {
        at = next;
        if say(write, &line, places).await.is_none() {
            return;
        }
    }
}

/// `None`: it was not taken.
async fn say(write: &mut OwnedWriteHalf, line: &str, places: &Places) -> Option<()> {
    timeout(places.patience, write.write_all(format!("{line}\n").as_bytes())).await.ok()?.ok()
}

/// Commit and name, of which nothing can mean something else anywhere.
fn parse(line: &str) -> Result<(&str, &str)> {
    let hex = |text: &str| text.len() == 40 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let name = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'@' | b'+'))
    };
    // Without its end the name may be a part of another one.
    match line.strip_suffix('\n').and_then(|line| line.split_once(' ')) {
        Some((commit, who)) if hex(commit) && name(who) => Ok((commit, who)),
        _ => Err(Error::new(Kind::Usage, "the request is not `<commit> <user>`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixStream;

    #[test]
    fn one_line_is_understood() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(parse(&format!("{commit} anna@git\n")).unwrap(), (commit, "anna@git"));
        for bad in ["", "x", "0123 anna", commit, &format!("{commit} --x"), &format!("{commit} a b")] {
            assert!(parse(&format!("{bad}\n")).is_err(), "{bad}");
        }
        assert!(parse(&format!("{commit} anna")).is_err(), "it may go on");
    }

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A socket of its own, with a job that prints without end until it is told to stop.
    struct Served {
        dir: tempfile::TempDir,
        job: Arc<BuildJob>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Served {
        fn new(patience: Duration) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(dir.path().join("s")).unwrap();
            let job = Arc::new(BuildJob::new(COMMIT, "anna@git"));
            let given = job.clone();
            let submit = move |_, _| std::future::ready(Ok(given.clone()));
            let task = tokio::spawn(serve(listener, Places { patience, ..Places::default() }, submit));
            Self { dir, job, task }
        }

        async fn connect(&self) -> BufReader<UnixStream> {
            BufReader::new(UnixStream::connect(self.dir.path().join("s")).await.unwrap())
        }

        async fn push(&self) -> BufReader<UnixStream> {
            let mut stream = self.connect().await;
            let _ = stream.write_all(format!("{COMMIT} anna@git\n").as_bytes()).await;
            stream
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    async fn line(stream: &mut BufReader<UnixStream>) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(60), stream.read_line(&mut line)).await.unwrap().unwrap();
        line
    }

    #[tokio::test]
    async fn connections_that_say_nothing_are_few_and_do_not_stay() {
        let served = Served::new(Duration::from_secs(2));
        let mut silent = Vec::new();
        for _ in 0..MOST_ASKING {
            silent.push(served.connect().await);
        }
        let mut more = served.connect().await;
        assert!(line(&mut more).await.starts_with("too many pushes"));
        assert_eq!(line(&mut more).await, "", "it is closed");
        // They are closed, and then there is a place.
        for stream in &mut silent {
            assert_eq!(line(stream).await, "");
        }
        served.job.say("building".into());
        assert_eq!(line(&mut served.push().await).await, "building\n");
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
        let served = Served::new(Duration::from_millis(500));
        let slow = served.push().await;
        // Far more than a socket holds.
        for n in 0..4000 {
            served.job.say(format!("{n} {}", "x".repeat(1000)));
        }
        // This test has the job, and the server's closure; the watcher's task goes.
        let gone = async {
            while Arc::strong_count(&served.job) > 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), gone).await.expect("the watcher is let go");
        drop(slow);
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_the_build_goes_on() {
        let served = Served::new(Duration::from_secs(10));
        served.job.say("building".into());
        let mut watching = Vec::new();
        for _ in 0..MOST_WATCHING {
            let mut stream = served.push().await;
            assert_eq!(line(&mut stream).await, "building\n");
            watching.push(stream);
        }
        assert!(line(&mut served.push().await).await.starts_with("too many connections watch builds"));
        assert!(!served.job.is_over());
        watching.pop();
        // Its place is free when the server has seen it go, with the next line.
        served.job.say("more".into());
        loop {
            let said = line(&mut served.push().await).await;
            if said == "building\n" {
                break;
            }
            served.job.say("more".into());
        }
    }
}
