//! This very program, called as a person calls it.

use std::{fs::File, path::PathBuf, process::Stdio, sync::Arc};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::watch,
};

use crate::report::LineSink;

/// So many of its last lines say why it failed.
const LAST: usize = 6;

/// `lap` in a workspace.
#[derive(Clone)]
pub struct Lap {
    pub root: PathBuf,
    /// When this turns true, what runs is asked to stop, and waited for.
    pub stop: watch::Receiver<bool>,
    /// The locked file. Whoever works holds it open, too, so that the room is not free before they are gone, if we are killed.
    pub alone: Arc<File>,
}

/// What it did.
#[derive(Debug, Default)]
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    /// The last lines of its talk.
    pub last: Vec<String>,
}

impl Lap {
    /// Runs it to its end, telling `line` what it says.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn run(&self, arguments: &[&str], line: &LineSink<'_>) -> Result<CommandOutput> {
        let what = || format!("cannot run `lap {}`", arguments.join(" "));
        let nothing = self.alone.try_clone().or_error(Kind::Host, what)?;
        // Its own file may have been replaced since it was started; this is the one that runs.
        let mut child = Command::new("/proc/self/exe")
            .arg0("lap")
            .args(arguments)
            .current_dir(&self.root)
            .env_remove("LAP_LAB")
            .env("NO_COLOR", "1")
            .stdin(nothing)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches us, and it through us: once.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .or_error(Kind::Host, what)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(Kind::Other, format!("{}: it has no pipes", what())));
        };
        let mut said = CommandOutput::default();
        let pid = child.id().map(|pid| Pid::from_raw(pid.cast_signed()));
        let (last, out) = (&mut said.last, &mut said.out);
        let errors = async {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                line(text.trim());
                last.push(text);
                last.drain(..last.len().saturating_sub(LAST));
            }
        };
        let output = async {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                out.push_str(&text);
                out.push('\n');
            }
        };
        let mut stop = self.stop.clone();
        let interrupt = async {
            if stop.wait_for(|stop| *stop).await.is_ok()
                && let Some(pid) = pid
            {
                let _ = kill(pid, Signal::SIGINT);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = async { tokio::join!(errors, output) } => {}
            () = interrupt => {}
        }
        said.code = child.wait().await.or_error(Kind::Host, what)?.code().unwrap_or(-1);
        Ok(said)
    }

    /// The same, which must end with 0. Gives what it printed.
    ///
    /// # Errors
    /// It ends otherwise: with its last lines.
    pub async fn ok(&self, arguments: &[&str], line: &LineSink<'_>) -> Result<String> {
        let said = self.run(arguments, line).await?;
        if said.code == 0 {
            return Ok(said.out);
        }
        let command = arguments.join(" ");
        let command = command.lines().next().unwrap_or_default();
        let rest: Vec<&str> = said.out.lines().rev().take(LAST).collect::<Vec<_>>().into_iter().rev().collect();
        let rest = if said.last.is_empty() { rest.join("\n") } else { said.last.join("\n") };
        Err(Error::new(Kind::Unhealthy, format!("`lap {command}` ended with {}\n{rest}", said.code)))
    }

    /// What a script says on the node: a constant, in `sh`.
    ///
    /// # Errors
    /// It ends with another code than 0.
    pub async fn inside(&self, script: &str, line: &LineSink<'_>) -> Result<String> {
        self.ok(&["ssh", super::files::NODE, "--", "sh", "-c", script], line).await
    }
}
