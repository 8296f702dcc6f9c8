//! Makes a lab's repositories, and sets their passphrase.

use lap_base::error::{Kind, OrError, Result};
use lap_repositories::{Repository, RepositoryScope, key_slot::KeySlot};

use super::{place::LabRepositories, progress::silent};
use crate::keys::{Passphrase, recovery};

/// What [`LabRepositories::init`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    New,
    /// All were there, and one had no passphrase.
    Passphrase,
    Nothing,
}

/// Makes this the passphrase of the lab and of its repositories at these places.
///
/// # Errors
/// One of them cannot be reached: then nothing is changed.
pub fn change_passphrase(places: &[LabRepositories], passphrase: &Passphrase) -> Result<()> {
    let mut opened = Vec::new();
    for place in places {
        let mut here = Vec::new();
        for room in place.rooms() {
            if let Some(repository) = place.open(&room, silent())? {
                here.push((room, repository));
            }
        }
        if here.is_empty() {
            place.must_open(&RepositoryScope::Shared, silent())?;
        }
        opened.push((place, here));
    }
    let all = opened.iter().flat_map(|(_, here)| here);
    let locks = all.map(|(_, repository)| repository.lock(false)).collect::<Result<Vec<_>>>()?;
    if let Some((first, _)) = opened.first() {
        recovery::set_passphrase(&first.root, passphrase)?;
    }
    for (place, here) in &opened {
        for (_, repository) in here {
            repository.set_passphrase(passphrase.secret())?;
        }
        let parted = here.iter().find(|(room, _)| *room == RepositoryScope::Lab);
        if let Some((_, repository)) = parted.or(here.iter().find(|(room, _)| *room == RepositoryScope::Shared)) {
            place.keep(repository)?;
        }
    }
    drop(locks);
    Ok(())
}

impl LabRepositories {
    /// Makes what is not there yet of an environment's repositories and the lab's own, and their passphrase (the lab's, which
    /// this sets where there is none). One that all environments share stays as it is, and gets no new copies any more.
    ///
    /// # Errors
    /// One cannot be made, is another lab's, or the lab has another passphrase.
    pub fn init(&self, passphrase: &Passphrase) -> Result<Made> {
        if recovery::has_passphrase(&self.root) {
            recovery::check_passphrase(&self.root, passphrase)?;
        } else {
            recovery::set_passphrase(&self.root, passphrase)?;
        }
        // Something else may be there.
        self.has(&RepositoryScope::Shared)?;
        self.keys.write_repository_passwords()?;
        let whole = self.storage(&RepositoryScope::Shared)?;
        whole.make().or_error(Kind::Host, || format!("cannot make `{}`", self.location))?;
        // The lab's own is the last: from its presence on, copies go to the environments'.
        let environments = self.environments.iter().cloned().map(RepositoryScope::Environment);
        let (mut new, mut had_passphrases) = (false, true);
        for room in environments.chain([RepositoryScope::Lab]) {
            let (storage, name, password) = (self.storage(&room)?, room.name(&self.name), self.password(&room)?);
            let is_there = Repository::is_there(&storage, &name)?;
            let repository = match is_there {
                true => Repository::open(storage, &name, KeySlot::Lab, &password, silent())?,
                false => Repository::make(storage, &name, &password, silent())?,
            };
            let _lock = repository.lock(false)?;
            let had_passphrase = repository.has_passphrase()?;
            if !had_passphrase {
                repository.set_passphrase(passphrase.secret())?;
            }
            if room == RepositoryScope::Lab {
                self.keep(&repository)?;
            }
            (new, had_passphrases) = (new || !is_there, had_passphrases && had_passphrase);
        }
        Ok(match (new, had_passphrases) {
            (true, _) => Made::New,
            (false, false) => Made::Passphrase,
            (false, true) => Made::Nothing,
        })
    }
}
