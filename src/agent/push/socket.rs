//! The socket that the git container's hook speaks to. One verb: "the branch is now at this commit", a line `<commit> <who>`; what is
//! said about it comes back as lines, until it is over.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use super::Queue;
use crate::{
    agent::paths,
    error::{Error, Kind, OrError, Result},
};

/// A line is not longer.
const MOST: u64 = 200;
/// Nor does it take longer to come.
const PATIENCE: Duration = Duration::from_secs(10);

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
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let queue = queue.clone();
                    tokio::spawn(async move { answer(&queue, stream).await });
                }
                Err(error) => {
                    eprintln!("agent: push: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

async fn answer(queue: &Queue, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MOST));
    let heard = tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await;
    let job = match (heard, parse(&line)) {
        (Ok(Ok(_)), Ok((commit, who))) => queue.submit(commit, who).await,
        (_, Err(error)) => Err(error),
        _ => return,
    };
    match job {
        Ok(job) => {
            let mut seen = 0;
            while let Some(line) = job.next(seen).await {
                seen += 1;
                // Whoever went away need not hear it.
                if write.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        Err(error) => {
            let _ = write.write_all(format!("{}\n", error.message).as_bytes()).await;
        }
    }
}

/// Commit and name, of which nothing can mean something else anywhere.
fn parse(line: &str) -> Result<(&str, &str)> {
    let hex = |text: &str| text.len() == 40 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let name = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'@' | b'+'))
    };
    match line.trim_end().split_once(' ') {
        Some((commit, who)) if hex(commit) && name(who) => Ok((commit, who)),
        _ => Err(Error::new(Kind::Usage, "`<commit> <who>` is what is understood here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_understood() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(parse(&format!("{commit} anna@git\n")).unwrap(), (commit, "anna@git"));
        for bad in ["", "x", "0123 anna", commit, &format!("{commit} --x"), &format!("{commit} a b")] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
