//! One hook as a process: started, heard, and ended with all that it started.

use std::{process::ExitStatus, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// What a hook started that goes on may print for so long after its end.
const LINGER: Duration = Duration::from_millis(200);
/// How long a program that nobody should write to any more may be busy.
const BUSY: Duration = Duration::from_secs(5);

/// It was written just now: another child of ours may still have the file open for writing, until it is another program (execve(2),
/// ETXTBSY).
pub async fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let until = Instant::now() + BUSY;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                sleep(Duration::from_millis(20)).await;
            }
            spawned => return spawned,
        }
    }
}

/// Ends all that a hook started, when nobody waits for it any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.id() {
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Waits for its end; tells each line.
pub async fn follow(child: Child, mut line: impl FnMut(&str)) -> std::io::Result<ExitStatus> {
    let mut group = Group(child);
    let (told, mut lines) = mpsc::unbounded_channel();
    if let Some(out) = group.0.stdout.take() {
        tokio::spawn(read(out, told.clone()));
    }
    if let Some(err) = group.0.stderr.take() {
        tokio::spawn(read(err, told.clone()));
    }
    drop(told);
    let ended = loop {
        tokio::select! {
            Some(text) = lines.recv() => line(&text),
            ended = group.0.wait() => break ended?,
        }
    };
    while let Ok(Some(text)) = timeout(LINGER, lines.recv()).await {
        line(&text);
    }
    Ok(ended)
}

async fn read(from: impl AsyncRead + Unpin, told: mpsc::UnboundedSender<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line).await, Ok(1..)) {
        // Whoever asked may be gone; what still writes must not be stopped by a full pipe.
        let _ = told.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}
