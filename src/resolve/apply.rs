//! Changes this machine, and asks it whether that helped.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::ErrorKind,
    net::{IpAddr, ToSocketAddrs},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use lap_base::{Error, Kind, OrError, Result};

use super::{file, plan::ResolverStep, record::ResolverRecord, tree::inside};

/// In a directory that is empty after a reboot: nothing of it stays.
const LOCK: &str = "/run/lap-dns-install.lock";

/// Holds off every other `lap dns install` until dropped (or killed: the kernel lets go).
pub struct InstallLock(#[expect(dead_code, reason = "held for its lock")] File);

/// Waits for the lock; to be taken before [`super::observe()`].
///
/// # Errors
/// [`Kind::Refused`]: this is the real machine and we are not root.
pub fn lock(root: &Path) -> Result<InstallLock> {
    if root == Path::new("/") && !nix::unistd::geteuid().is_root() {
        return Err(Error::new(Kind::Refused, "only root may change how this machine resolves names")
            .hint("run the same command with `sudo`; `--dry-run` shows what it would do"));
    }
    let path = inside(root, Path::new(LOCK));
    let what = || format!("cannot lock `{}`", path.display());
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).or_error(Kind::Host, what)?;
    file.lock().or_error(Kind::Host, what)?;
    Ok(InstallLock(file))
}

/// Does the steps on the machine whose root directory is `root`. `run` runs one command (its words).
///
/// # Errors
/// [`Kind::Refused`]: a file is not what it was when the plan was made. [`Kind::Host`]: a file cannot be written, or
/// whatever `run` says; all files are written then.
pub fn apply(root: &Path, steps: &[ResolverStep], run: &mut dyn FnMut(&[String]) -> Result<()>) -> Result<()> {
    for (n, step) in steps.iter().enumerate() {
        let Err(error) = apply_one(root, step, run) else { continue };
        if !matches!(step, ResolverStep::Run(_)) {
            return Err(error);
        }
        // Taken back is taken back: the files are as they were, and the command may be gone for good.
        return match steps[n..].iter().find(|step| matches!(step, ResolverStep::Forget(_))) {
            Some(last) => {
                apply_one(root, last, run)?;
                Err(error.hint("the files are restored; only this step is left"))
            }
            None => Err(error.hint("the files are written: run the same command again, or run it with `--undo`")),
        };
    }
    Ok(())
}

fn apply_one(root: &Path, step: &ResolverStep, run: &mut dyn FnMut(&[String]) -> Result<()>) -> Result<()> {
    match step {
        ResolverStep::Remember(record) => {
            sweep(root, record);
            record.save(root)
        }
        ResolverStep::Forget(record) => {
            sweep(root, record);
            ResolverRecord::forget(root, &record.lab)
        }
        ResolverStep::MakeDirectory(path) => {
            let dir = inside(root, path);
            let what = || format!("cannot make directory `{}`", path.display());
            match DirBuilder::new().mode(0o755).create(&dir) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(()),
                made => made.or_error(Kind::Host, what)?,
            }
            // Whoever reads it need not be root, whatever our umask is.
            fs::set_permissions(&dir, Permissions::from_mode(0o755)).or_error(Kind::Host, what)
        }
        ResolverStep::RemoveDirectory(path) => {
            // Others may have put something there, or taken it away.
            let _ = fs::remove_dir(inside(root, path));
            Ok(())
        }
        ResolverStep::Put { path, from, to } => {
            let real = inside(root, path);
            if file::read(&real)? != *from {
                let message = format!("another program changed `{}` at the same time", path.display());
                return Err(Error::new(Kind::Refused, message).hint("run the same command again"));
            }
            match to {
                Some(content) => file::write(&real, content),
                None => file::remove(&real),
            }
        }
        ResolverStep::Run(words) => run(words),
    }
}

/// What a killed run left beside the files.
fn sweep(root: &Path, record: &ResolverRecord) {
    record.files.iter().for_each(|kept| file::sweep(&inside(root, &kept.path)));
}

/// Runs one command on this machine: [`apply`]'s `run` outside tests.
///
/// # Errors
/// [`Kind::Host`] when it is not there or fails; then with what it said.
pub fn run_command(words: &[String]) -> Result<()> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    let line = words.join(" ");
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .or_error(Kind::Host, || format!("cannot run `{line}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Kind::Host, format!("`{line}` failed ({}): {said}", output.status)))
}

/// Asks the system's resolver (getaddrinfo(3)) for a name's addresses.
///
/// # Errors
/// What it said, or that it said nothing within `patience`.
pub fn look_up(name: &str, patience: Duration) -> std::result::Result<Vec<IpAddr>, String> {
    let (tell, told) = mpsc::channel();
    // With the final dot: no search domain is tried. On a thread, since nothing ends a getaddrinfo that waits.
    let asked = format!("{}.", name.trim_end_matches('.'));
    std::thread::spawn(move || {
        let found = (asked.as_str(), 0).to_socket_addrs();
        let _ = tell.send(found.map(|all| all.map(|a| a.ip()).collect()).map_err(|e| e.to_string()));
    });
    told.recv_timeout(patience).unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))
}
