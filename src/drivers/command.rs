//! Programs of this machine, run to their end: what they say is told as they say it, and their last lines say why they failed.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use crate::{
    error::{Error, Kind, OrError, Result},
    report::Line,
};

/// So many of a program's last lines are in the message when it fails.
const LAST: usize = 12;

/// A program with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub program: String,
    pub arguments: Vec<String>,
    /// Variables beside those of this process.
    pub variables: Vec<(String, String)>,
    /// What to do when there is no such program.
    pub missing: String,
}

impl Run {
    /// A program with these arguments.
    pub fn new<A: Into<String>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The same with a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The same with what to do when it is not installed.
    #[must_use]
    pub fn missing(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.missing);
        self
    }

    /// What it prints. Both its outputs are told line by line. It is killed with whoever waits for it.
    ///
    /// # Errors
    /// It is missing, or fails: with its last lines.
    pub async fn output(&self, kind: Kind, line: &Line<'_>) -> Result<String> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Not stopped by the Ctrl-C that stops us in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let error = Error::new(Kind::Host, format!("cannot run `{}`: {error}", self.program));
                if self.missing.is_empty() { error } else { error.hint(self.missing.clone()) }
            })?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(Kind::Other, format!("`{}` has no pipes", self.program)));
        };
        let mut last = Vec::new();
        let mut bytes = Vec::new();
        let errors = async {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                line(text.trim());
                last.push(text);
                let surplus = last.len().saturating_sub(LAST);
                last.drain(..surplus);
            }
        };
        let output = async {
            let mut reader = BufReader::new(stdout);
            let mut one = Vec::new();
            while matches!(reader.read_until(b'\n', &mut one).await, Ok(1..)) {
                line(String::from_utf8_lossy(&one).trim());
                bytes.append(&mut one);
            }
            let _ = reader.read_to_end(&mut bytes).await;
        };
        tokio::join!(errors, output);
        let status = child.wait().await.or_error(Kind::Host, || format!("cannot wait for `{}`", self.program))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.success() {
            return Ok(text);
        }
        if last.iter().all(|line| line.trim().is_empty()) {
            last = text.lines().map(str::to_owned).collect();
            last.drain(..last.len().saturating_sub(LAST));
        }
        Err(Error::new(kind, format!("`{self}` ended with {status}\n{}", last.join("\n").trim_end())))
    }

    /// The same, told to nobody.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub async fn quiet(&self, kind: Kind) -> Result<String> {
        self.output(kind, &|_| {}).await
    }
}

/// As a person would type it: without the variables, which may hold paths that say nothing.
impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> =
            std::iter::once(self.program.as_str()).chain(self.arguments.iter().map(String::as_str)).collect();
        let text = words.join(" ");
        // A script given as an argument.
        f.write_str(text.lines().next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn what_a_program_says_is_told_and_kept() {
        let said = Mutex::new(Vec::new());
        let line = |text: &str| said.lock().unwrap().push(text.to_owned());
        let run = Run::new("sh", ["-c", "echo one; echo \"$TWO\"; echo three >&2"]).variable("TWO", "two");
        assert_eq!(run.output(Kind::Host, &line).await.unwrap(), "one\ntwo\n");
        let mut said = said.into_inner().unwrap();
        said.sort();
        assert_eq!(said, ["one", "three", "two"]);
    }

    #[tokio::test]
    async fn what_failed_is_said_with_its_last_lines() {
        let run = Run::new("sh", ["-c", "seq 30 >&2; exit 3"]);
        let error = run.quiet(Kind::Build).await.unwrap_err();
        assert_eq!(error.kind, Kind::Build);
        assert!(error.message.starts_with("`sh -c seq 30 >&2; exit 3` ended with exit status: 3\n19\n"), "{error}");
        let error = Run::new("lap-no-such-program", ["x"]).missing("install it").quiet(Kind::Build).await.unwrap_err();
        assert_eq!((error.kind, error.hints[0].as_str()), (Kind::Host, "install it"));
    }
}
