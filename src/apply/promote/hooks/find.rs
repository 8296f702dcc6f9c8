//! Which hooks a commit has. Looking runs nothing.

use std::{io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};

use lap_base::error::{Error, Kind, OrError, Result};

use super::hook::HookPoint;
use crate::{
    apply::{options::short, promote::consent::describe::HOOKS_DIRECTORY},
    observe::{
        checkout::{self, Checkout},
        commit as in_git,
    },
    workspace::Workspace,
};

/// A commit's files, and the hooks among them.
pub struct FoundHooks {
    pub checkout: Checkout,
    pub there: Vec<HookPoint>,
}

impl FoundHooks {
    /// Those of `commit`: always from git, since what lies in the working tree has no say, even where the rest is that commit's.
    ///
    /// # Errors
    /// The commit is not in the clone, or a program there is no hook, or a hook no program.
    pub fn of(workspace: &Workspace, commit: &str) -> Result<Self> {
        let here = &workspace.lab.root;
        let checkout =
            checkout::checkout(here, commit, &in_git::inside(here)?, &tempfile::env::temp_dir()).map_err(|error| {
                error.hint(format!("fetch the commit {} with `git fetch`, and promote again", short(commit)))
            })?;
        let there = find(&checkout.root)?;
        Ok(Self { checkout, there })
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.there.iter().map(|hook| hook.name()).collect()
    }

    /// Whether one runs before anything is brought over.
    pub fn run_beside_the_plan(&self) -> bool {
        self.there.iter().any(|hook| matches!(hook, HookPoint::BeforePlan | HookPoint::AfterPlan))
    }
}

/// The hooks of the workspace at `root`.
pub fn find(root: &Path) -> Result<Vec<HookPoint>> {
    let mut there = Vec::new();
    // Where a link leads is not part of what the operator is shown.
    for path in ["scripts", HOOKS_DIRECTORY] {
        if root.join(path).symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Err(Error::new(Kind::Config, format!("`{path}` is a link: put the directory there")));
        }
    }
    let what = || format!("cannot read `{HOOKS_DIRECTORY}`");
    let entries = match std::fs::read_dir(root.join(HOOKS_DIRECTORY)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(there),
        Err(error) => return Err(error).or_error(Kind::Config, what),
    };
    for entry in entries {
        let entry = entry.or_error(Kind::Config, what)?;
        let name = lap_base::words::plain(&entry.file_name().to_string_lossy());
        let meta = entry.metadata().or_error(Kind::Config, || format!("cannot read `{HOOKS_DIRECTORY}/{name}`"))?;
        if meta.is_symlink() {
            return Err(Error::new(Kind::Config, format!("`{HOOKS_DIRECTORY}/{name}` is a link: put the file there")));
        }
        let runs = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        match (HookPoint::ALL.into_iter().find(|hook| hook.name() == name), runs) {
            (Some(hook), true) => there.push(hook),
            (Some(_), false) => {
                return Err(Error::new(Kind::Config, format!("`{HOOKS_DIRECTORY}/{name}` is not executable"))
                    .hint(format!("`git update-index --chmod=+x {HOOKS_DIRECTORY}/{name}`, and commit")));
            }
            // Whatever a hook needs beside it belongs elsewhere: a name with a mistake in it would never run.
            (None, true) => {
                let known = HookPoint::ALL.map(HookPoint::name).join("`, `");
                return Err(Error::new(Kind::Config, format!("`{HOOKS_DIRECTORY}/{name}` is not a hook"))
                    .hint(format!("the names of hooks are `{known}`")));
            }
            (None, false) => {}
        }
    }
    there.sort_by_key(|hook| HookPoint::ALL.iter().position(|known| known == hook));
    Ok(there)
}
