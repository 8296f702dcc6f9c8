//! Programs of this machine or of another host, run to their end: what they say is told as they say it, and their last lines say why they failed.

use std::process::Stdio;

use lap_base::error::{Error, Kind, OrError, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use super::site::Site;
use crate::report::LineSink;

/// A program on another host ends when nobody waits for it any more: then its guard's input ends.
const GUARD: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & program=$!
{ cat <&3; kill "$program"; } >/dev/null 2>&1 & guard=$!
wait "$program"; code=$?
kill "$guard" 2>/dev/null
exit "$code""#;
/// What a shell says of a program that is not there, and ssh of a machine it does not reach.
const MISSING: i32 = 127;
const UNREACHED: i32 = 255;

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
    /// Where it is run.
    pub site: Site,
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

    /// The same on this host.
    #[must_use]
    pub fn at_site(mut self, site: &Site) -> Self {
        self.site = site.clone();
        self
    }

    /// What is started on this machine.
    fn command(&self) -> Command {
        let Site::There(ssh) = &self.site else {
            let mut command = Command::new(&self.program);
            command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
            command.env("LC_ALL", "C").stdin(Stdio::null());
            return command;
        };
        let variables: Vec<String> = self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut words = vec!["sh", "-c", GUARD, "lap", "env", "LC_ALL=C"];
        words.extend(variables.iter().chain([&self.program]).chain(&self.arguments).map(String::as_str));
        let mut command = Command::new("ssh");
        command.args(ssh.command(&words)).stdin(Stdio::piped());
        command
    }

    /// It is not there, and what to do about that.
    fn not_there(&self, why: &str) -> Error {
        let error = Error::new(Kind::Host, format!("cannot run `{}`{}: {why}", self.program, self.site));
        if self.missing.is_empty() { error } else { error.hint(self.missing.clone()) }
    }

    /// What it prints. Both its outputs are told line by line. It is killed with whoever waits for it.
    ///
    /// # Errors
    /// It is missing, or fails: with its last lines.
    pub async fn output(&self, kind: Kind, line: &LineSink<'_>) -> Result<String> {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Not stopped by the Ctrl-C that stops us in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_there(&error.to_string()))?;
        // Held until it has ended.
        let _input = child.stdin.take();
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(Kind::Other, format!("`{}` has no pipes", self.program)));
        };
        let mut last = Vec::new();
        let mut bytes = Vec::new();
        let errors = async {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                line(text.trim());
                // Vagrant's own way to fail: where in Ruby it was is told, and is not the reason.
                if text.starts_with("\tfrom ") {
                    continue;
                }
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
        if let Site::There(ssh) = &self.site {
            match status.code() {
                Some(UNREACHED) => return Err(ssh.refused(&last.join("\n"))),
                Some(MISSING) => return Err(self.not_there("it is not installed")),
                _ => {}
            }
        }
        if last.iter().all(|line| line.trim().is_empty()) {
            last = text.lines().map(str::to_owned).collect();
            last.drain(..last.len().saturating_sub(LAST));
        }
        Err(Error::new(kind, format!("`{self}`{} ended with {status}\n{}", self.site, last.join("\n").trim_end())))
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

    /// Whatever becomes of the connection, ssh's end of it is what the guard reads.
    #[test]
    fn on_another_host_a_program_ends_with_whoever_waits_for_it() {
        use std::{io::Read, process::Stdio};
        let guard = |script: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", GUARD, "lap", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut child = guard("echo one; cat; exit 3");
        let input = child.stdin.take();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), child.wait().unwrap().code()), ("one\n", Some(3)), "it reads nothing");
        drop(input);
        let mut child = guard("echo $$; exec sleep 1000");
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    }

    #[test]
    fn on_another_host_every_word_is_its_own() {
        let run = Run::new("virsh", ["list", "it's; reboot"]).variable("A", "b c").at_site(&Site::of(Some("office2")));
        let command = run.command();
        let words: Vec<String> = command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let at = words.iter().position(|word| word == "office2").unwrap();
        // ssh joins the words with blanks, and the shell of the other host splits them again.
        let split = shlex::split(&words[at + 4..].join(" ")).unwrap();
        assert_eq!(split, ["lap", "env", "LC_ALL=C", "A=b c", "virsh", "list", "it's; reboot"]);
    }

    #[tokio::test]
    async fn what_failed_is_said_with_its_last_lines() {
        let run = Run::new("sh", ["-c", "seq 30 >&2; exit 3"]);
        let error = run.quiet(Kind::Build).await.unwrap_err();
        assert_eq!(error.kind, Kind::Build);
        assert!(error.message.starts_with("`sh -c seq 30 >&2; exit 3` ended with exit status: 3\n19\n"), "{error}");
        let backtrace = Run::new("sh", ["-c", "printf 'the reason\\n\\tfrom here\\n\\tfrom there\\n' >&2; exit 1"]);
        assert!(backtrace.quiet(Kind::Node).await.unwrap_err().message.ends_with("\nthe reason"));
        let error = Run::new("lap-no-such-program", ["x"]).missing("install it").quiet(Kind::Build).await.unwrap_err();
        assert_eq!((error.kind, error.hints[0].as_str()), (Kind::Host, "install it"));
    }
}
