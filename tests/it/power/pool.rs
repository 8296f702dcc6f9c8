//! The data of a pool in numbered versions, and the recovery as the agent does it at its start.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use lap::agent::prune::registry;
use lap_base::{Error, Result as Outcome};
use lap_snapshots::{
    Filesystem, Id, Meta, RestoreStep, Still, World, all, data, free_id, named,
    only::{self, Only},
    recover, sweep, sweep_beside,
};

/// Long enough that it is no part of its inode.
const LARGE: usize = 40_000;

/// The directories of the data.
pub const CONTAINERS: [&str; 2] = ["git", "web"];

/// Writes version `version` of the data of a container.
pub fn write(pool: &Path, container: &str, version: u64) {
    let own = pool.join("data").join(container);
    for (name, text) in files(container, version) {
        let path = own.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The file systems soon write a file that was made empty and filled again (ext4(5), `auto_da_alloc`), and not a new one.
        let _ = fs::remove_file(&path);
        fs::write(path, text).unwrap();
    }
    // A file that no other version has.
    fs::create_dir_all(own.join("versions")).unwrap();
    for entry in fs::read_dir(own.join("versions")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(own.join("versions").join(version.to_string()), version.to_string()).unwrap();
}

pub fn write_all(pool: &Path, version: u64) {
    CONTAINERS.iter().for_each(|container| write(pool, container, version));
}

fn files(container: &str, version: u64) -> BTreeMap<String, String> {
    let text = format!("{container} {version};");
    let mut all: BTreeMap<String, String> = (0..6).map(|n| (format!("dir/{n}"), format!("{text} {n}"))).collect();
    all.insert("one".into(), text.clone());
    all.insert("large".into(), text.repeat(LARGE));
    all
}

/// Which version is in `data`, for each container.
pub fn version(data: &Path, container: &str) -> Result<u64, String> {
    let own = data.join(container);
    let read =
        |name: &str| fs::read_to_string(own.join(name)).map_err(|e| format!("{}: {e}", own.join(name).display()));
    let one = read("one")?;
    let version = one.trim_start_matches(container).trim().trim_end_matches(';').parse::<u64>();
    let version = version.map_err(|_| format!("{}/one is `{one:.30}`", own.display()))?;
    for (name, text) in files(container, version) {
        if read(&name)? != text {
            return Err(format!("{}/{name} is not of version {version}", own.display()));
        }
    }
    let names: Vec<_> = fs::read_dir(own.join("versions")).map_err(|e| e.to_string())?.flatten().collect();
    match names.as_slice() {
        [name] if name.file_name() == *version.to_string() => Ok(version),
        _ => Err(format!("{} has version {version}, and {names:?}", own.display())),
    }
}

/// The same where all containers have one version.
pub fn version_of_all(data: &Path) -> Result<u64, String> {
    let all: Vec<u64> = CONTAINERS.iter().map(|container| version(data, container)).collect::<Result<_, _>>()?;
    if all.iter().all(|version| *version == all[0]) { Ok(all[0]) } else { Err(format!("{}: {all:?}", data.display())) }
}

/// The description of a snapshot; fields that a later lap adds have their default.
pub fn meta(id: &Id, at: i64) -> Meta {
    serde_json::from_value(serde_json::json!({
        "id": id, "at": at, "reason": "asked", "note": null, "by": "anna@notebook", "current": null,
    }))
    .unwrap()
}

pub fn take(pool: &Path, at: i64) -> Outcome<Id> {
    let id = free_id(pool, at);
    lap_snapshots::take(pool, &meta(&id, at), &mut Machine { can_start: true })?;
    Ok(id)
}

pub fn only<'a>(pool: &'a Path, state: &'a Path, id: &'a Id, paths: &'a [String], at: i64) -> Only<'a> {
    Only { pool, state, id, paths, containers: &[], at, by: "ben@pc", current: None, kept: None }
}

/// Brings a pool to a whole state as the agent does it: at its start before Docker, and again when Docker answers. Gives what it says.
///
/// # Errors
/// It cannot.
pub fn recovered(pool: &Path) -> Result<Vec<String>, String> {
    let text = |error: Error| error.to_string();
    let state = pool.join("state");
    let mut said = Vec::new();
    for can_start in [false, true] {
        let mut machine = Machine { can_start };
        said.extend(recover(pool, &state, &mut machine).map_err(text)?);
        said.extend(only::recover(pool, &state, &mut machine).map_err(text)?);
        if !can_start {
            sweep(pool, &named(&state).map_err(text)?).map_err(text)?;
            sweep_beside(pool, &state).map_err(text)?;
            registry::put_all_back(&pool.join("data/registry")).map_err(text)?;
        }
    }
    // What a second start finds is whole: it changes nothing.
    let before = listing(pool)?;
    let mut machine = Machine { can_start: false };
    let again =
        [recover(pool, &state, &mut machine).map_err(text)?, only::recover(pool, &state, &mut machine).map_err(text)?];
    sweep(pool, &named(&state).map_err(text)?).map_err(text)?;
    if again.iter().any(Option::is_some) || listing(pool)? != before {
        return Err(format!("a second recovery changes something: {again:?}, {before:?}, {:?}", listing(pool)));
    }
    left_over(pool)?;
    Ok(said)
}

fn names(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut all: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    Ok(all)
}

fn listing(pool: &Path) -> Result<Vec<Vec<String>>, String> {
    ["", "snapshots", "state", "data"].iter().map(|name| names(&pool.join(name))).collect()
}

fn left_over(pool: &Path) -> Result<(), String> {
    let pool_names = names(pool)?.into_iter().filter(|name| name.contains("lap"));
    let halves = names(&pool.join("snapshots"))?.into_iter().filter(|name| name.starts_with('.'));
    let data = names(&pool.join("data"))?.into_iter().filter(|name| name.starts_with(".lap"));
    // A file that a writer prepared and did not rename is replaced by the next one.
    let is_record = |name: &String| name.starts_with("restore") && !name.ends_with(".lap-new");
    let records = names(&pool.join("state"))?.into_iter().filter(is_record);
    let all: Vec<String> = pool_names.chain(halves).chain(data).chain(records).collect();
    if all.is_empty() { Ok(()) } else { Err(format!("left over: {all:?}")) }
}

/// All snapshots; each is whole.
pub fn snapshots(pool: &Path) -> Result<BTreeMap<Id, (Meta, u64)>, String> {
    let (found, damaged) = all(pool).map_err(|error| error.to_string())?;
    if !damaged.is_empty() {
        return Err(format!("snapshots without a description: {damaged:?}"));
    }
    let whole = |meta: Meta| Ok((meta.id.clone(), (meta.clone(), version_of_all(&data(pool, &meta.id))?)));
    found.into_iter().map(whole).collect()
}

pub fn is_one_of<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, allowed: &[T]) -> Result<(), String> {
    if allowed.contains(found) { Ok(()) } else { Err(format!("{what} is {found:?}, not one of {allowed:?}")) }
}

/// On all file systems.
pub fn on_each(play: impl Fn(Filesystem)) {
    Filesystem::ALL.into_iter().for_each(play);
}

/// A node without containers.
pub struct Machine {
    pub can_start: bool,
}

impl Still for Machine {
    fn at(&mut self, _: &str) {}

    fn pause(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn resume(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

impl World for Machine {
    fn step(&mut self, _: RestoreStep) {}

    fn running(&mut self) -> Outcome<Vec<String>> {
        Ok(Vec::new())
    }

    fn can_start(&self) -> bool {
        self.can_start
    }

    fn stop(&mut self, _: &[String]) -> Outcome<()> {
        Ok(())
    }

    fn start(&mut self, _: &[String]) -> Outcome<()> {
        Ok(())
    }

    fn unmount(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn mount(&mut self) -> Outcome<()> {
        Ok(())
    }
}
