//! The place where it happens: a workspace that is there as long as something of its lab may be, so that what was killed is cleared
//! up by the next one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::watch;

use super::{bare::Bare, files, lap::Lap, scenario::On};
use crate::{
    apply::options::Options,
    config::value::name::label,
    drivers::{self, node::docker::routes, rootfs::cache_directory},
    workspace::Workspace,
};

/// The file that says: what this lab has is this room's. It comes after the look that nobody has such a lab.
const OURS: &str = ".lap/ours";

/// A workspace of its own, which nobody else uses meanwhile.
pub struct Sandbox {
    name: String,
    root: PathBuf,
    stop: watch::Receiver<bool>,
    alone: Flock<File>,
}

impl Sandbox {
    /// Takes it, and clears up what somebody who was killed left in it.
    ///
    /// # Errors
    /// Somebody is in it, or what was left cannot be removed.
    pub async fn take(name: &str, stop: &watch::Receiver<bool>, options: &Options) -> Result<Self> {
        let name = label(name)
            .map_err(|message| Error::new(Kind::Usage, format!("the lab cannot have this name: {message}")))?;
        let all = cache_directory().join("conformance");
        let root = all.join(&name);
        fs::create_dir_all(&all).or_error(Kind::Host, || format!("cannot make `{}`", all.display()))?;
        let alone = alone(&all.join(format!("{name}.lock")), &name)?;
        let room = Self { name, root, stop: stop.clone(), alone };
        if room.root.join(OURS).exists() {
            options.events.note(format!("removing the remains of a killed run in `{}`", room.name));
        }
        room.clear(options).await?;
        Ok(room)
    }

    /// Writes the workspace for nodes of this kind, with keys.
    ///
    /// # Errors
    /// There is such a lab already.
    pub async fn furnish(&self, on: On, bare: Option<&Bare>) -> Result<Lap> {
        // Without Docker the others can be played all the same, but for what takes two nodes.
        let other = match crate::docker::local().await {
            Ok(_) => true,
            Err(error) if on == On::Docker => return Err(error),
            Err(_) => false,
        };
        files::write(&self.root, &self.name, on, other, &routes())?;
        let lap = self.lap(self.stop.clone())?;
        if let Some(bare) = bare {
            let fingerprint = bare.fingerprint().await?;
            bare.free().await?;
            lap.ok(&bare.add(&fingerprint), &|_| {}).await?;
            let file = self.root.join(files::NODE_FILE);
            let text =
                fs::read_to_string(&file).or_error(Kind::Host, || format!("cannot read `{}`", file.display()))?;
            files::put(&file, &Bare::small(&text))?;
            files::commit(&self.root)?;
        }
        let workspace = Workspace::open(&self.root, None)?;
        let mut facts = drivers::node::observe(&workspace.lab).await?.facts;
        // A machine that exists is there.
        facts.nodes.retain(|name, _| bare.is_none() || name != files::NODE);
        if !facts.nodes.is_empty() || facts.subnet.is_some() || !facts.vm.disks.is_empty() {
            let message = format!("this machine has a lab `{}` already: lap changed nothing in it", self.name);
            return Err(Error::new(Kind::Refused, message).hint("choose another name with `--lab NAME`"));
        }
        files::put(&self.root.join(OURS), "")?;
        lap.ok(&["keys", "new"], &|_| {}).await?;
        Ok(lap)
    }

    fn lap(&self, stop: watch::Receiver<bool>) -> Result<Lap> {
        let alone = self.alone.try_clone().or_error(Kind::Host, || "cannot keep the lock".into())?;
        Ok(Lap { root: self.root.clone(), stop, alone: Arc::new(alone) })
    }

    /// Removes the lab, if it is this room's, and the workspace.
    ///
    /// # Errors
    /// Something stays: with how it can be removed.
    pub async fn clear(&self, options: &Options) -> Result<()> {
        if self.root.join(OURS).exists() {
            let (_going, stop) = watch::channel(false);
            let lap = self.lap(stop)?;
            for environment in [files::NODE, files::OTHER] {
                if !self.root.join("env").join(environment).exists() {
                    continue;
                }
                let removed = lap.ok(&["destroy", environment, "--yes"], &|_| {}).await;
                removed.map_err(|error| error.hint(by_hand(&self.root, environment)))?;
            }
        }
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                options.events.note(format!("cannot remove `{}`: {error}", self.root.display()));
            }
            _ => {}
        }
        Ok(())
    }
}

fn by_hand(root: &Path, environment: &str) -> String {
    format!("`lap -C {} destroy {environment}` removes the remains", root.display())
}

/// One at a time: the second would take the first's nodes for leftovers.
fn alone(path: &Path, name: &str) -> Result<Flock<File>> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.or_error(Kind::Host, || format!("cannot lock `{}`", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Error::new(Kind::Locked, format!("another run uses the lab `{name}`"))
            .hint("try again when it has finished, or choose another name with `--lab NAME`")
    })
}
