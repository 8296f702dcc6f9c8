//! `lap snapshot mount`: stock sshfs, since every node has sshd and each provider's nodes are reached that way.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use lap_base::error::{Error, Kind, OrError, Result};

use crate::{
    apply::snapshot::Snapshots,
    cli::{common::runtime, global::Global, ssh::Login},
    report::print::outln,
    wire::paths,
};

/// Mount a snapshot in a directory of this machine, read-only, over SSH (needs sshfs)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A snapshot, or `latest`
    id: String,
    /// An empty directory
    path: PathBuf,
    /// The environment [default: `default` in lap.toml]
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Unmount it
    #[arg(long)]
    undo: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let path = global.start()?.join(&self.path);
        if self.undo {
            unmount(&path, &self.id)?;
            outln!("`{}` is empty again.", self.path.display());
            return Ok(ExitCode::SUCCESS);
        }
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        if let Some(source) = mounted(&path) {
            return Err(Error::new(Kind::Refused, format!("`{}` has `{source}` mounted", path.display())));
        }
        let what = || format!("`{}` is not a directory", path.display());
        if fs::read_dir(&path).or_error(Kind::Usage, what)?.next().is_some() {
            return Err(Error::new(Kind::Refused, format!("`{}` is not empty", path.display())));
        }
        let all =
            runtime()?.block_on(async { Snapshots::of(workspace.clone(), &environment).await?.list(false).await })?;
        let found = match self.id.as_str() {
            "latest" => all.last(),
            id => all.iter().find(|listed| listed.meta.id.to_string() == id),
        };
        let found = found.ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no snapshot `{}`", self.id))
                .hint("`lap snapshot list` shows them")
        })?;
        let id = found.meta.id.to_string();
        let login = Login::to(&workspace, Some(&environment.master))?;
        run(sshfs(&login, &id, &path))?;
        let shown = self.path.display();
        outln!(
            "Mounted snapshot {id} of `{}` at `{shown}`. `lap snapshot mount {id} {shown} --undo` unmounts it.",
            environment.name
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn sshfs(login: &Login, id: &str, path: &Path) -> Command {
    let mut command = Command::new("sshfs");
    let file = |path: &Path| path.to_string_lossy().replace('\\', r"\\").replace(',', r"\,");
    command.args(["-F", "none", "-o", "ro", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]);
    command.args(["-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=15", "-o", "BatchMode=yes"]);
    command.args(["-p", &login.port.to_string()]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", file(&login.known_hosts)));
    command.arg("-o").arg(format!("IdentityFile={}", file(&login.key)));
    if let Some(proxy) = &login.proxy {
        command.arg("-o").arg(file(Path::new(proxy)));
    }
    command.arg(format!("root@{}:{}/snapshots/{id}/data", login.address, paths::POOL)).arg(path);
    command
}

fn unmount(path: &Path, id: &str) -> Result<()> {
    let nothing = || Error::new(Kind::Usage, format!("`{}` has no snapshot mounted", path.display()));
    let source = mounted(path).ok_or_else(nothing)?;
    let shown = source.strip_suffix("/data").and_then(|rest| rest.rsplit_once("/snapshots/")).ok_or_else(nothing)?.1;
    if id != "latest" && id != shown {
        return Err(Error::new(
            Kind::Usage,
            format!("`{}` has the snapshot {shown} mounted, not {id}", path.display()),
        ));
    }
    let mut command = Command::new("fusermount3");
    command.arg("-u").arg("--").arg(path);
    run(command)
}

fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let missing = || format!("cannot run `{name}`");
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.or_error(Kind::Host, missing).map_err(|error| error.hint("`sudo apt-get install sshfs`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(Kind::Host, format!("`{name}` failed: {said}")))
}

/// What FUSE shows at `path`.
fn mounted(path: &Path) -> Option<String> {
    // Not through the mount itself, which may hang when the node is gone: only the directory above is looked at.
    let (above, name) = (path.parent()?, path.file_name()?);
    let path = fs::canonicalize(above).ok()?.join(name);
    find(&fs::read("/proc/self/mounts").ok()?, &path)
}

fn find(mounts: &[u8], path: &Path) -> Option<String> {
    let mut lines = mounts.split(|byte| *byte == b'\n').rev();
    lines.find_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let (source, target, kind) = (words.next()?, words.next()?, words.next()?);
        let here = Path::new(&OsString::from_vec(plain(target))) == path && kind.starts_with(b"fuse");
        here.then(|| String::from_utf8_lossy(&plain(source)).into_owned())
    })
}

/// Spaces and their like are written as `\040`, see fstab(5).
fn plain(word: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), word);
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &others[3..];
            }
            None => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_whatever_their_path_is() {
        let mounts = b"proc /proc proc rw 0 0\nroot@10.1.2.3:/x/snapshots/1/data /mnt/a\\040b fuse.sshfs ro 0 0\n";
        assert_eq!(find(mounts, Path::new("/mnt/a b")).as_deref(), Some("root@10.1.2.3:/x/snapshots/1/data"));
        assert_eq!(find(mounts, Path::new("/proc")), None);
    }

    #[test]
    fn nothing_is_trusted_but_the_key_the_node_was_given() {
        let login = Login {
            address: [10, 1, 2, 3].into(),
            port: 7022,
            known_hosts: "/a,b/known".into(),
            key: "/a,b/admin".into(),
            proxy: Some("ProxyCommand=a,b".into()),
        };
        let command = sshfs(&login, "20261121-094512", Path::new("/mnt"));
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.contains(&r"UserKnownHostsFile=/a\,b/known".to_owned()), "{words:?}");
        assert!(words.windows(2).any(|pair| pair == ["-p", "7022"]), "{words:?}");
        assert!(words.contains(&r"ProxyCommand=a\,b".to_owned()), "{words:?}");
        assert!(words.contains(&"StrictHostKeyChecking=yes".to_owned()) && words.contains(&"ro".to_owned()));
        assert!(words.contains(&"root@10.1.2.3:/var/lib/lap/pool/snapshots/20261121-094512/data".to_owned()));
    }
}
