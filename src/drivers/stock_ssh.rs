//! Stock ssh(1), for machines lap did not make: the person's `~/.ssh/config` counts, with its users, ports, keys, agents and
//! jump hosts. lap's own connections go through it as through a wire (`ssh -W`), and end at lap's own sshd.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use lap_base::error::{Error, Kind, OrError, Result};
use russh::keys::PublicKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A machine as ssh(1) knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockSsh {
    /// For messages.
    pub node: String,
    /// What ssh takes.
    pub destination: String,
    /// A file with the only host key that is accepted, under the name [`ALIAS`]; `None`: what the person's known hosts say.
    pub pinned: Option<PathBuf>,
    /// A configuration that says everything about a machine that was just made, in the place of the person's own.
    pub config: Option<PathBuf>,
    /// The host where that is, and where ssh to it is run.
    pub from: Option<Box<StockSsh>>,
}

/// The name under which a pinned host key is written down, whatever the machine is called.
pub const ALIAS: &str = "lap-node";

/// What every call has: nobody is asked anything, nothing of the person's is lent to the machine.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "LogLevel=ERROR",
];

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// `None`: a signal.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl StockSsh {
    /// A machine that the person's own ssh knows.
    pub fn known(node: impl Into<String>, destination: impl Into<String>) -> Self {
        Self { node: node.into(), destination: destination.into(), ..Self::default() }
    }

    fn options(&self) -> Vec<String> {
        let mut out: Vec<String> = vec!["-T".into()];
        out.extend(self.config.iter().flat_map(|file| ["-F".to_owned(), file.display().to_string()]));
        let mut option = |text: String| out.extend(["-o".to_owned(), text]);
        OPTIONS.iter().for_each(|text| option((*text).to_owned()));
        if let Some(file) = &self.pinned {
            // Not the machine's name, which may be another tomorrow: this key or none.
            option(format!("HostKeyAlias={ALIAS}"));
            option(format!("UserKnownHostsFile={}", file.display()));
            option("GlobalKnownHostsFile=/dev/null".into());
            option("CheckHostIP=no".into());
            option("UpdateHostKeys=no".into());
        }
        if self.config.is_none() {
            option("StrictHostKeyChecking=yes".into());
        }
        out
    }

    /// The arguments of `ssh` that make it a wire to `to`, an address as that machine sees it.
    pub fn wire(&self, to: &str) -> Vec<String> {
        let mut out = self.options();
        out.extend(["-W".into(), to.into(), "--".into(), self.destination.clone()]);
        out
    }

    /// The same as a `ProxyCommand`, which is a line for a shell.
    pub fn proxy_command(&self, to: &str) -> String {
        let words: Vec<String> = std::iter::once("ssh".to_owned()).chain(self.wire(to)).collect();
        // ssh replaces `%h` and the like in it before the shell sees it.
        quoted(&words).join(" ").replace('%', "%%")
    }

    /// The arguments of `ssh` that run a command there.
    pub fn command(&self, command: &[&str]) -> Vec<String> {
        let mut out = self.options();
        out.extend(["--".into(), self.destination.clone()]);
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        out.extend(quoted(&command));
        match &self.from {
            Some(host) => {
                let words: Vec<&str> = std::iter::once("ssh").chain(out.iter().map(String::as_str)).collect();
                host.command(&words)
            }
            None => out,
        }
    }

    /// Opens a wire. Nothing is known yet about whether it reaches anything.
    ///
    /// # Errors
    /// `ssh` cannot be run.
    pub fn open(&self, to: &str) -> Result<Wire> {
        let mut child = spawn(&self.wire(to))?;
        let said = Arc::new(Mutex::new(String::new()));
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::new(Kind::Other, "`ssh` has no pipes"));
        };
        let kept = said.clone();
        tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = text;
        });
        Ok(Wire { stdin, stdout, said, _child: child })
    }

    /// Runs a command there to its end. A line of its error output is told as soon as it is there.
    ///
    /// # Errors
    /// ssh itself failed: the machine is not reached, or refuses.
    pub async fn run(&self, command: &[&str], input: &[u8], line: &(dyn Fn(&str) + Send + Sync)) -> Result<Ran> {
        let mut child = spawn(&self.command(command))?;
        let (Some(mut stdin), Some(mut stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::new(Kind::Other, "`ssh` has no pipes"));
        };
        let (mut out, mut err) = (String::new(), String::new());
        let send = async {
            // A command that does not read its input says itself why.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let errors = async {
            let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stderr));
            while let Ok(Some(text)) = lines.next_line().await {
                line(text.trim());
                err.push_str(&text);
                err.push('\n');
            }
        };
        let (_, read, ()) = tokio::join!(send, stdout.read_to_string(&mut out), errors);
        read.or_error(Kind::Node, || format!("cannot read the output of `{}`", self.node))?;
        let status = child.wait().await.or_error(Kind::Host, || "cannot wait for `ssh`".into())?;
        match status.code() {
            Some(255) => Err(self.refused(&err)),
            code => Ok(Ran { code, out, err }),
        }
    }

    /// Runs a command that must succeed.
    ///
    /// # Errors
    /// It does not: its last lines.
    pub async fn done(
        &self,
        what: &str,
        command: &[&str],
        input: &[u8],
        line: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<String> {
        let ran = self.run(command, input, line).await?;
        if ran.code == Some(0) {
            return Ok(ran.out);
        }
        let lines: Vec<&str> = ran.err.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(6)..].join("\n");
        Err(Error::new(Kind::Node, format!("cannot {what} on `{}`: {last}", self.node)))
    }

    /// What ssh's own complaint means.
    pub fn refused(&self, said: &str) -> Error {
        let last = telling(said);
        let host = self.node == self.destination;
        let at = if host { format!("`{}`", self.node) } else { format!("`{}` ({})", self.node, self.destination) };
        if let Some(config) = &self.config {
            let place = self.from.as_ref().map(|host| format!(" on `{}`", host.destination)).unwrap_or_default();
            return Error::new(Kind::Node, format!("cannot log in to `{}`: {last}", self.node)).hint(format!(
                "run `ssh -F {} {}`{place} to see the reason",
                config.display(),
                self.destination
            ));
        }
        if said.contains("Host key verification failed") || said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            if host && self.pinned.is_none() {
                return Error::new(Kind::Keys, format!("your ssh does not know the host key of {at}"))
                    .hint(format!("run `ssh {}` to see the key and confirm it", self.destination));
            }
            let hint = match self.pinned {
                Some(_) => "if the machine was reinstalled, run `lap node add` to see its key and pin it again",
                None => "run `lap node add` to see its key and pin it",
            };
            return Error::new(Kind::Keys, format!("the host key of {at} differs from the pinned one")).hint(hint);
        }
        if said.contains("Permission denied") {
            return Error::new(Kind::Keys, format!("{at} refuses your login: {last}")).hint(format!(
                "`ssh {}` must work without a password: install your key with `ssh-copy-id`",
                self.destination
            ));
        }
        Error::new(Kind::Disconnected, format!("{at} does not answer: {last}"))
            .hint(format!("run `ssh {}` to test the connection", self.destination))
    }

    /// The address that ssh connects to, as its settings (`HostName`) and the resolver say.
    ///
    /// # Errors
    /// ssh does not take the destination, or its name has no IPv4 address.
    pub async fn address(&self) -> Result<Ipv4Addr> {
        let mut command = Command::new("ssh");
        let output = command.args(["-G", "--", &self.destination]).stdin(Stdio::null()).output();
        let output = output.await.map_err(missing)?;
        if !output.status.success() {
            return Err(self.refused(&String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let name = text.lines().find_map(|line| line.strip_prefix("hostname ")).unwrap_or_default();
        let found = tokio::net::lookup_host((name, 22)).await.ok().and_then(|mut all| {
            all.find_map(|address| match address.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
        });
        found.ok_or_else(|| {
            Error::new(Kind::Node, format!("the IPv4 address of `{name}` is not known"))
                .hint("set the address at which others reach it with `--address`")
        })
    }

    /// Asks the machine for its host key, without logging in. Nothing is trusted by that.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn host_key(&self) -> Result<PublicKey> {
        let dir = tempfile::tempdir().or_error(Kind::Host, || "cannot make a directory".into())?;
        let file = dir.path().join("known_hosts");
        let mut command = Command::new("ssh");
        command.arg("-T");
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        let known = format!("UserKnownHostsFile={}", file.display());
        let alias = format!("HostKeyAlias={ALIAS}");
        // ssh writes the key down and then has no way to log in: no credential is shown to a machine nobody knows yet.
        for option in [
            known.as_str(),
            alias.as_str(),
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=accept-new",
            "HashKnownHosts=no",
            "CheckHostIP=no",
            "UpdateHostKeys=no",
            "ControlPath=none",
            "PreferredAuthentications=none",
            "PubkeyAuthentication=no",
        ] {
            command.args(["-o", option]);
        }
        command.args(["--", &self.destination, "true"]).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().await.map_err(missing)?;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        parse_known(&text).ok_or_else(|| self.refused(&String::from_utf8_lossy(&output.stderr)))
    }
}

/// The key in the first line of a file of known hosts.
fn parse_known(text: &str) -> Option<PublicKey> {
    let line = text.lines().find(|line| line.starts_with(ALIAS))?;
    PublicKey::from_openssh(line.split_once(' ')?.1).ok()
}

/// The line for a pinned key, and the file it is in.
///
/// # Errors
/// It cannot be written.
pub fn pin(file: &Path, host_key: &str) -> Result<()> {
    let line = format!("{ALIAS} {}\n", host_key.trim());
    if std::fs::read_to_string(file).is_ok_and(|is| is == line) {
        return Ok(());
    }
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).or_error(Kind::Host, || format!("cannot make `{}`", dir.display()))?;
    }
    lap_base::durable::write_file(file, line.as_bytes(), 0o644)
}

/// ssh joins its arguments with spaces for the far shell: each word must arrive as it is.
pub fn quoted(command: &[String]) -> Vec<String> {
    // A NUL is the only thing that cannot be quoted. It passes here, since no process can be started with it: `spawn` refuses it.
    let quoter = shlex::Quoter::new().allow_nul(true);
    command.iter().map(|word| quoter.quote(word).expect("a NUL is allowed").into_owned()).collect()
}

/// The line of what ssh said that tells the reason: with a jump host the last ones only say that the way there ended.
fn telling(said: &str) -> &str {
    let consequence = |line: &&str| {
        ["kex_exchange_identification:", "Connection closed by UNKNOWN", "stdio forwarding failed"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().rfind(|line| !consequence(line)).or_else(|| lines().next_back()).unwrap_or("no answer")
}

fn spawn(arguments: &[String]) -> Result<Child> {
    Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Not stopped by the Ctrl-C that stops us in good order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(missing)
}

fn missing(error: std::io::Error) -> Error {
    Error::new(Kind::Host, format!("cannot run `ssh`: {error}")).hint("`sudo apt-get install openssh-client`")
}

/// A byte stream through an `ssh` process, which ends with it.
pub struct Wire {
    stdin: ChildStdin,
    stdout: ChildStdout,
    said: Arc<Mutex<String>>,
    _child: Child,
}

impl Wire {
    /// Where what ssh says appears when it has ended.
    pub fn said(&self) -> Arc<Mutex<String>> {
        self.said.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(pinned: Option<&str>) -> StockSsh {
        StockSsh { pinned: pinned.map(PathBuf::from), ..StockSsh::known("test", "admin@server") }
    }

    #[test]
    fn the_command_lines_are_these() {
        let line = server(None).wire("127.0.0.1:7022").join(" ");
        assert_eq!(
            line,
            "-T -o BatchMode=yes -o ConnectTimeout=10 -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no -o \
             RemoteCommand=none -o LogLevel=ERROR -o StrictHostKeyChecking=yes -W 127.0.0.1:7022 -- admin@server"
        );
        let line = server(Some("/x/known")).command(&["sh", "-c", "it's $1"]).join(" ");
        assert!(line.ends_with(
            "-o HostKeyAlias=lap-node -o UserKnownHostsFile=/x/known -o GlobalKnownHostsFile=/dev/null -o \
             CheckHostIP=no -o UpdateHostKeys=no -o StrictHostKeyChecking=yes -- admin@server sh -c \"it's \"'$1'"
        ));
        let proxy = server(Some("/a b/50%")).proxy_command("127.0.0.1:22");
        assert!(
            proxy.contains("'UserKnownHostsFile=/a b/50%%'") && proxy.starts_with("ssh -T -o 'BatchMode=yes' "),
            "{proxy}"
        );
    }

    /// As OpenSSH 9.2 says it behind a jump host.
    #[test]
    fn the_reason_is_told_and_not_what_follows_from_it() {
        let ends = "kex_exchange_identification: Connection closed by remote host\r\n";
        let refused =
            server(None).refused(&format!("ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n{ends}"));
        assert_eq!(
            refused.to_string(),
            "`test` (admin@server) does not answer: ssh: connect to host 10.0.0.1 port 22: Connection refused"
        );
        let behind =
            format!("channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n{ends}");
        assert!(server(None).refused(&behind).to_string().ends_with("connect failed: No route to host"));
        assert!(server(None).refused(ends).to_string().ends_with("closed by remote host"));
        assert!(server(None).refused("\n").to_string().ends_with("no answer"));
    }

    /// What is quoted for the machine is quoted once more for the host in front of it.
    #[test]
    fn a_machine_behind_a_host_is_reached_from_there() {
        let config = Some(PathBuf::from("/m/ssh_config"));
        let inner = StockSsh { config, ..StockSsh::known("prod", "prod") };
        let line = inner.command(&["sh", "-c", "it's"]).join(" ");
        assert!(line.starts_with("-T -F /m/ssh_config -o BatchMode=yes ") && !line.contains("Strict"), "{line}");
        let words = StockSsh { from: Some(Box::new(server(None))), ..inner.clone() }.command(&["sh", "-c", "it's"]);
        let at = words.iter().position(|word| word == "admin@server").unwrap();
        let line = words[at + 1..].join(" ");
        let out = std::process::Command::new("sh").arg("-c").arg(format!("printf '%s\\n' {line}")).output().unwrap();
        let seen: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(seen[0], "ssh");
        assert_eq!(seen[1..], inner.command(&["sh", "-c", "it's"])[..]);
    }

    #[test]
    fn arguments_arrive_as_they_are() {
        let words = ["a b", "it's", "$(reboot)"].map(str::to_owned);
        assert_eq!(quoted(&words), ["'a b'", "\"it's\"", "'$(reboot)'"]);
        // The shell itself is the judge.
        let words = ["", "~", "#x", "a=b", "{a,b}", "!x", "*", "\\", "a\nb", "\t", "'\"$`", "é\u{a0}", "-n", "^"]
            .map(str::to_owned);
        let script = format!("printf '%s|' {}", quoted(&words).join(" "));
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), words.map(|word| word + "|").concat());
    }

    #[test]
    fn what_ssh_says_is_understood() {
        let refused = |said: &str| server(None).refused(said);
        assert_eq!(refused("x\nHost key verification failed.\n").kind, Kind::Keys);
        assert_eq!(refused("admin@server: Permission denied (publickey).\n").kind, Kind::Keys);
        let error = refused("ssh: Could not resolve hostname server: Name or service not known\n");
        assert_eq!(error.kind, Kind::Disconnected);
        assert!(error.message.contains("does not answer: ssh: Could not resolve hostname server"), "{error}");
    }
}
