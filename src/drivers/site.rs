//! Where machines are made: on this machine, or on another host over the operator's own ssh. Files are read and written by the
//! same small scripts here and there; what they are about comes as their arguments and their input, never as a part of them.

use std::{fmt, fs::File, path::Path, process::Stdio};

use lap_base::error::{Error, Kind, OrError, Result};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, process::Command};

use super::stock_ssh::StockSsh;

/// A `+` in front of what is there.
const READ: &str = r#"[ -e "$1" ] || exit 0; printf + && exec tail -c "$2" -- "$1""#;
/// It has its name only when it is whole, also when the connection breaks off in the middle of it.
const WRITE: &str = r#"
set -eu; umask 077
[ "$(sha256sum 2>/dev/null <"$1")" != "$2  -" ] || exit 0
rm -f -- "$1.lap-new"; cat >"$1.lap-new"
[ "$(sha256sum <"$1.lap-new")" = "$2  -" ] || { echo "the received file is incomplete" >&2; exit 1; }
chmod "$3" -- "$1.lap-new"; sync -- "$1.lap-new"; mv -f -- "$1.lap-new" "$1""#;
/// The same for what is too large to be read twice.
const SEND: &str = r#"
set -eu; umask 077
mkdir -p -- "$(dirname -- "$1")"; cat >"$1.lap-new"
[ "$(stat -c %s -- "$1.lap-new")" = "$2" ] || { echo "the received file is incomplete" >&2; exit 1; }
mv -f -- "$1.lap-new" "$1""#;
const MAKE: &str = r#"mkdir -p -- "$1" && chmod "$2" -- "$1""#;
const REMOVE: &str = r#"rm -rf -- "$@""#;
const REMOVE_EMPTY: &str = r#"rmdir -- "$1" 2>/dev/null || :"#;
const HAVING: &str = r#"
dir=$1; case $dir in "~/"*) dir=${VAGRANT_HOME:-$HOME/.vagrant.d}/${dir#"~/"};; esac
for entry in "$dir"/*; do [ ! -e "$entry/$2" ] || printf '%s\n' "${entry##*/}"; done"#;

/// Where something is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Site {
    #[default]
    Here,
    There(StockSsh),
}

/// What a script reads.
pub enum Input<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Site {
    /// The host as a node's file names it; `None`: this machine.
    pub fn of(host: Option<&str>) -> Self {
        host.map_or(Self::Here, |host| Self::There(StockSsh::known(host, host)))
    }

    /// The host's name; `None`: this machine.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Here => None,
            Self::There(ssh) => Some(&ssh.destination),
        }
    }

    /// Runs a script of ours with these arguments to its end, and gives what it prints.
    ///
    /// # Errors
    /// It fails: with its last lines. Or the host is not reached.
    pub async fn script(
        &self,
        what: &str,
        script: &'static str,
        arguments: &[&str],
        input: Input<'_>,
    ) -> Result<Vec<u8>> {
        self.script_as(&[], what, script, arguments, input).await
    }

    /// The same with words before it that make it another user's.
    ///
    /// # Errors
    /// As [`Self::script`].
    pub async fn script_as(
        &self,
        user: &[&str],
        what: &str,
        script: &'static str,
        arguments: &[&str],
        input: Input<'_>,
    ) -> Result<Vec<u8>> {
        let failed = || format!("cannot {what}{self}");
        let words = [user, &["sh", "-c", script, "lap"], arguments].concat();
        let mut command = match self {
            Self::Here => {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]);
                command
            }
            Self::There(ssh) => {
                let mut command = Command::new("ssh");
                command.args(ssh.command(&words));
                command
            }
        };
        let (stdin, bytes) = match input {
            Input::Bytes(bytes) => (Stdio::piped(), bytes),
            Input::File(path) => (Stdio::from(File::open(path).or_error(Kind::Host, failed)?), &[][..]),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.env("LC_ALL", "C").spawn().or_error(Kind::Host, failed)?;
        let stdin = child.stdin.take();
        let send = async move {
            if let Some(mut stdin) = stdin {
                // One that does not read all of it says itself why.
                let _ = stdin.write_all(bytes).await;
            }
        };
        let ((), output) = tokio::join!(send, child.wait_with_output());
        let output = output.or_error(Kind::Host, failed)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        match self {
            Self::There(ssh) if output.status.code() == Some(255) => Err(ssh.refused(&said)),
            _ => Err(Error::new(Kind::Host, format!("{}: {}", failed(), last(&said)))),
        }
    }

    /// A file's last `most` bytes; `None`: it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
        let (name, most) = (path.display().to_string(), most.to_string());
        let out = self.script(&format!("read `{name}`"), READ, &[&name, &most], Input::Bytes(&[])).await?;
        Ok((out.first() == Some(&b'+')).then(|| out[1..].to_vec()))
    }

    /// Puts a file in its place, unless it is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let (name, sum) = (path.display().to_string(), hex::encode(Sha256::digest(bytes)));
        let arguments = [name.as_str(), &sum, &format!("{mode:o}")];
        self.script(&format!("write `{name}`"), WRITE, &arguments, Input::Bytes(bytes)).await.map(drop)
    }

    /// Brings a large file there.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn send(&self, from: &Path, to: &Path) -> Result<()> {
        let size = std::fs::metadata(from).or_error(Kind::Host, || format!("cannot read `{}`", from.display()))?.len();
        let name = to.display().to_string();
        self.script(&format!("write `{name}`"), SEND, &[&name, &size.to_string()], Input::File(from)).await.map(drop)
    }

    /// Makes a directory with these rights.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make_dir(&self, path: &Path, mode: u32) -> Result<()> {
        let name = path.display().to_string();
        let arguments = [name.as_str(), &format!("{mode:o}")];
        self.script(&format!("make `{name}`"), MAKE, &arguments, Input::Bytes(&[])).await.map(drop)
    }

    /// Removes files and whole directories. What is not there is no error.
    ///
    /// # Errors
    /// One cannot be removed.
    pub async fn remove(&self, paths: &[&Path]) -> Result<()> {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
        let what = format!("remove `{}`", names.join("`, `"));
        self.script(&what, REMOVE, &arguments, Input::Bytes(&[])).await.map(drop)
    }

    /// Removes a directory if nothing is in it.
    ///
    /// # Errors
    /// The host is not reached.
    pub async fn remove_empty(&self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        self.script(&format!("remove `{name}`"), REMOVE_EMPTY, &[&name], Input::Bytes(&[])).await.map(drop)
    }

    /// What in a directory has this path below it. `~` is where Vagrant keeps a person's own.
    ///
    /// # Errors
    /// The host is not reached.
    pub async fn having(&self, dir: &str, below: &str) -> Result<Vec<String>> {
        let out = self.script(&format!("list `{dir}`"), HAVING, &[dir, below], Input::Bytes(&[])).await?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }
}

/// After what was done: nothing for this machine.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => Ok(()),
            Self::There(ssh) => write!(f, " on `{}`", ssh.destination),
        }
    }
}

/// The last lines of what a script said, without the shell's own name.
fn last(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const HERE: Site = Site::Here;

    #[tokio::test]
    async fn a_file_is_written_once_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's $(a) file");
        assert_eq!(HERE.read(&path, 10).await.unwrap(), None);
        HERE.write(&path, b"secret", 0o600).await.unwrap();
        assert_eq!(HERE.read(&path, 4).await.unwrap().as_deref(), Some(&b"cret"[..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let before = inode(&path);
        HERE.write(&path, b"secret", 0o600).await.unwrap();
        assert_eq!(inode(&path), before, "what is right already is not written");
        HERE.write(&path, b"other", 0o644).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = HERE.write(&dir.path().join("no/where"), b"", 0o644).await.unwrap_err();
        assert!(error.message.starts_with("cannot write `") && error.kind == Kind::Host, "{error}");
    }

    #[tokio::test]
    async fn a_file_that_did_not_come_whole_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("a/to"));
        fs::write(&from, "all of it").unwrap();
        let name = to.display().to_string();
        let half = HERE.script("write", SEND, &[&name, "10"], Input::File(&from)).await.unwrap_err();
        assert!(half.message.contains("is incomplete") && !to.exists(), "{half}");
        let half = HERE.script("write", WRITE, &[&name, "0", "600"], Input::Bytes(b"al")).await.unwrap_err();
        assert!(half.message.contains("is incomplete") && !to.exists(), "{half}");
        HERE.send(&from, &to).await.unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"all of it");
    }

    #[tokio::test]
    async fn directories_are_made_looked_into_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("lab/node");
        HERE.make_dir(&inner, 0o711).await.unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o711);
        fs::write(inner.join("disk"), "").unwrap();
        let lab = dir.path().join("lab");
        assert_eq!(HERE.having(lab.to_str().unwrap(), "disk").await.unwrap(), ["node"]);
        assert_eq!(HERE.having(lab.to_str().unwrap(), "other").await.unwrap(), [""; 0]);
        HERE.remove_empty(&lab).await.unwrap();
        HERE.remove(&[&inner, &inner]).await.unwrap();
        assert!(!inner.exists() && lab.exists());
        HERE.remove_empty(&lab).await.unwrap();
        assert!(!lab.exists());
    }
}
