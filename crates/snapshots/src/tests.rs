//! On a real btrfs, in a mount namespace of the test's own; killed at every step.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    path::{Path, PathBuf},
    process::Command,
};

use lap_base::error::{Error, Kind, Result};

use self::pool::{Nobody, Pool, sh};
use super::*;

mod clocks;
mod cut;
mod differs;
mod inside;
mod long;
mod part;
mod pool;
mod still;

impl Pool {
    pub(crate) fn take(&self) -> Meta {
        self.take_at(1_795_254_312, &mut Fake::up()).unwrap()
    }

    fn of(&self, meta: &Meta, name: &str) -> String {
        let data = self.path().join("snapshots").join(meta.id.to_string()).join("data");
        fs::read_to_string(data.join(name)).unwrap_or_default()
    }

    fn restore(&self, id: &Id, world: &mut Fake) -> Result<Meta> {
        let (pool, state) = (self.path(), self.state());
        Restore { pool: &pool, state: &state, id, at: 1_795_254_400, by: "ben@pc", current: None, release: None }
            .run(world)
    }
}

/// Docker and mounts, as far as a restore asks for them.
#[derive(Default)]
struct Fake {
    mounted: bool,
    running: Vec<String>,
    started: Vec<String>,
    booting: bool,
    die_at: Option<RestoreStep>,
    /// Where the power goes, and the pool's device.
    cut_at: Option<(RestoreStep, PathBuf)>,
    fail_at: Option<RestoreStep>,
    steps: Vec<RestoreStep>,
    paused: bool,
    did: Vec<String>,
    die_taking: Option<String>,
    /// What happens at the last moment before they stand still.
    meanwhile: Option<Box<dyn FnOnce()>>,
    patience: Option<std::time::Duration>,
}

impl Fake {
    fn up() -> Self {
        Self { mounted: true, running: vec!["registry".into(), "git".into()], ..Self::default() }
    }

    fn may(&self, step: RestoreStep) -> Result<()> {
        if self.fail_at == Some(step) { Err(Error::new(Kind::Node, format!("no {}", step.text()))) } else { Ok(()) }
    }
}

/// The end of a process that has no time for anything.
struct Killed;

/// It is no failure, and not told as one.
fn quiet() {
    std::panic::set_hook(Box::new(|info| {
        if !info.payload().is::<Killed>() {
            eprintln!("{info}");
        }
    }));
}

impl Still for Fake {
    fn at(&mut self, step: &str) {
        self.did.push(step.to_owned());
        if self.die_taking.as_deref() == Some(step) {
            panic_any(Killed);
        }
    }

    fn pause(&mut self) -> Result<()> {
        self.paused = true;
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        self.paused = false;
        Ok(())
    }

    fn patience(&self) -> Option<std::time::Duration> {
        self.patience
    }
}

impl World for Fake {
    fn step(&mut self, step: RestoreStep) {
        self.steps.push(step);
        if let Some((_, device)) = self.cut_at.as_ref().filter(|(at, _)| *at == step) {
            pool::keep(device);
            panic_any(Killed);
        }
        if self.die_at == Some(step) {
            panic_any(Killed);
        }
    }

    fn running(&mut self) -> Result<Vec<String>> {
        Ok(self.running.clone())
    }

    fn can_start(&self) -> bool {
        !self.booting
    }

    fn stop(&mut self, containers: &[String]) -> Result<()> {
        self.may(RestoreStep::Stop)?;
        self.running.retain(|name| !containers.contains(name));
        Ok(())
    }

    fn start(&mut self, containers: &[String]) -> Result<()> {
        self.may(RestoreStep::Start)?;
        assert!(self.mounted, "a container was started without its data");
        self.started = containers.to_vec();
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        assert!(self.running.is_empty(), "the data went away below {:?}", self.running);
        self.may(RestoreStep::Unmount)?;
        self.mounted = false;
        Ok(())
    }

    fn mount(&mut self) -> Result<()> {
        self.may(RestoreStep::Mount)?;
        self.mounted = true;
        Ok(())
    }
}

/// Does the same on each file system that a pool can be.
fn on_each(act: impl Fn(Pool)) {
    Filesystem::ALL.into_iter().for_each(|filesystem| act(Pool::on(filesystem)));
}

#[test]
fn there_and_back() {
    on_each(goes_and_comes);
}

fn goes_and_comes(pool: Pool) {
    let first = pool.take();
    pool.write("git/one", "new");
    pool.write("git/two", "more");
    let mut world = Fake::up();
    let kept = pool.restore(&first.id, &mut world).unwrap();
    assert_eq!((pool.read("git/one").as_str(), pool.read("git/two").as_str()), ("old", ""));
    assert_eq!(world.steps, RestoreStep::ALL);
    assert_eq!(world.started, ["registry", "git"], "in the order they were made");
    assert_eq!((pool.of(&kept, "git/one").as_str(), pool.of(&kept, "git/two").as_str()), ("new", "more"));
    if is_btrfs(&pool.path()).unwrap() {
        assert!(fs::write(pool.path().join("snapshots").join(kept.id.to_string()).join("data/git/one"), "x").is_err());
    }
    pool.write("git/one", "after");
    pool.restore(&kept.id, &mut Fake::up()).unwrap();
    assert_eq!(pool.read("git/one"), "new");
    let all = list(&pool.path()).unwrap();
    assert_eq!(all.iter().map(|m| m.reason).collect::<Vec<_>>(), [Reason::Asked, Reason::Replaced, Reason::Replaced]);
    assert_eq!(pool.left_over(), [""; 0]);
    for meta in all {
        remove(&pool.path(), &meta.id).unwrap();
    }
    assert!(list(&pool.path()).unwrap().is_empty());
    assert!(remove(&pool.path(), &first.id).unwrap_err().message.contains("there is no snapshot"));
}

#[test]
fn killed_at_each_step_it_is_the_old_state_or_the_new_one() {
    quiet();
    on_each(is_killed_at_each_step);
}

fn is_killed_at_each_step(pool: Pool) {
    let first = pool.take();
    for step in RestoreStep::ALL {
        // Docker answers at once; or only after the data is settled; or the first attempt to recover is killed, too.
        for (booting, again) in
            [(false, None), (true, None), (true, Some(RestoreStep::Mount)), (true, Some(RestoreStep::Keep))]
        {
            pool.write("git/one", "new");
            let mut world = Fake { die_at: Some(step), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| pool.restore(&first.id, &mut world).map(drop)));
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step:?}");
            // The machine comes back: nothing runs, nothing is mounted.
            let (path, state) = (pool.path(), pool.state());
            if let Some(die_at) = again {
                let mut world = Fake { die_at: Some(die_at), booting: true, ..Fake::default() };
                let _ = catch_unwind(AssertUnwindSafe(|| recover(&path, &state, &mut world)));
            }
            let mut world = Fake { booting, ..Fake::default() };
            let mut said = recover(&path, &state, &mut world).unwrap();
            sweep(&path, &BTreeSet::new()).unwrap();
            if booting && said.is_some() {
                world.booting = false;
                said = recover(&path, &state, &mut world).unwrap();
            }
            let context = format!("killed at {step:?}, booting {booting}, again {again:?}: {said:?}");
            let switched =
                !matches!(step, RestoreStep::Prepare | RestoreStep::Stop | RestoreStep::Unmount | RestoreStep::Switch);
            assert_eq!(pool.read("git/one"), if switched { "old" } else { "new" }, "{context}");
            assert_eq!(pool.left_over(), [""; 0], "{context}");
            assert_eq!(recover(&path, &state, &mut world).unwrap(), None, "{context}");
            if step == RestoreStep::Prepare {
                // Nothing was written yet.
                assert_eq!(said, None);
                continue;
            }
            let said = said.expect(&context);
            assert!(
                said.ends_with(if switched { "is 20261121-094640" } else { "the state before it is back" }),
                "{said}"
            );
            assert_eq!(world.started, ["registry", "git"], "{context}");
            if switched {
                let kept = find(&path, "latest").unwrap();
                assert_eq!(pool.of(&kept, "git/one"), "new", "{context}");
                remove(&path, &kept.id).unwrap();
            }
        }
    }
}

#[test]
fn what_fails_after_the_switch_blocks_the_next_until_it_is_finished() {
    let pool = Pool::new();
    let first = pool.take();
    pool.write("git/one", "new");
    let mut world = Fake { fail_at: Some(RestoreStep::Mount), ..Fake::up() };
    let error = pool.restore(&first.id, &mut world).unwrap_err();
    assert!(error.hints.iter().any(|hint| hint.contains("the data before it is not lost")), "{error}");
    let again = pool.restore(&first.id, &mut Fake::up()).unwrap_err();
    assert_eq!(again.message, "an earlier restore is not complete");
    world.fail_at = None;
    assert!(
        recover(&pool.path(), &pool.state(), &mut world).unwrap().is_some_and(|said| said.contains("is complete now"))
    );
    assert_eq!(world.started, ["registry", "git"]);
    let kept = find(&pool.path(), "latest").unwrap();
    assert_eq!((pool.read("git/one").as_str(), pool.of(&kept, "git/one").as_str()), ("old", "new"));
    assert_eq!(pool.left_over(), [""; 0]);
}

#[test]
fn another_release_is_left_to_whoever_makes_its_containers() {
    let pool = Pool::new();
    let first = pool.take();
    let (path, state) = (pool.path(), pool.state());
    let release = Some(serde_json::json!({ "commit": "old" }));
    let restore =
        Restore { pool: &path, state: &state, id: &first.id, at: 1_795_254_400, by: "ben@pc", current: None, release };
    let mut world = Fake::up();
    restore.run(&mut world).unwrap();
    assert!(world.started.is_empty() && world.mounted, "the old containers are not for this data");
    assert_eq!(pool.left_over(), ["current.json"]);
    assert!(fs::read_to_string(state.join("current.json")).unwrap().contains("old"));
}

#[test]
fn what_fails_before_the_switch_is_undone() {
    on_each(undoes);
}

fn undoes(pool: Pool) {
    let first = pool.take();
    pool.write("git/one", "new");
    for step in [RestoreStep::Stop, RestoreStep::Unmount] {
        let mut world = Fake { fail_at: Some(step), ..Fake::up() };
        let error = pool.restore(&first.id, &mut world).unwrap_err();
        assert_eq!(error.message, format!("no {}", step.text()));
        assert_eq!(pool.read("git/one"), "new");
        assert!(world.mounted);
        assert_eq!(world.started, ["registry", "git"]);
        assert_eq!(pool.left_over(), [""; 0]);
    }
    assert_eq!(list(&pool.path()).unwrap().len(), 1, "nothing was kept, as nothing was replaced");
    let error = pool.restore(&"20200101-000000".parse().unwrap(), &mut Fake::up()).unwrap_err();
    assert_eq!(error.message, "there is no snapshot `20200101-000000`");
}

#[test]
fn half_taken_ones_are_never_listed_and_swept() {
    on_each(has_half_taken_ones);
}

fn has_half_taken_ones(pool: Pool) {
    let path = pool.path();
    let half = path.join("snapshots/.new-20261121-094512");
    fs::create_dir(&half).unwrap();
    volume::copy(&path.join("data"), &half.join("data")).unwrap();
    // A directory that is no snapshot of ours is left alone.
    fs::create_dir(path.join("snapshots/mine")).unwrap();
    assert!(list(&path).unwrap().is_empty());
    sweep(&path, &BTreeSet::new()).unwrap();
    assert!(!half.exists() && path.join("snapshots/mine").exists());
    let two = [pool.take(), pool.take()].map(|meta| meta.id.to_string());
    assert_eq!(two, ["20261121-094512", "20261121-094512-2"]);
    assert_eq!(find(&path, "latest").unwrap().id.to_string(), two[1]);
    assert!(find(&path, "nothing").unwrap_err().message.contains("there is no snapshot `nothing`"));
    // One that has its name has its data: it stays, whatever has become of its description.
    let meta = |id: &str| path.join("snapshots").join(id).join("meta.json");
    let text = fs::read(meta(&two[0])).unwrap();
    for left in ["".as_bytes(), &[0; 700], &text[..20], b"{\"id\": \"of a later lap\"}"] {
        let taken = pool.take();
        fs::write(meta(&taken.id.to_string()), left).unwrap();
        sweep(&path, &BTreeSet::new()).unwrap();
        assert!(data(&path, &taken.id).join("git/one").exists());
        assert!(!is_whole(&path, &taken.id));
        // A record of work under way knows what it is.
        assert!(complete(&path, &taken).unwrap() && is_whole(&path, &taken.id));
    }
    // One that a record names stays, too.
    let named = "20261121-094512-9".parse().unwrap();
    let half = begin(&path, &named).unwrap();
    sweep(&path, &BTreeSet::from([named])).unwrap();
    assert!(half.exists());
    sweep(&path, &BTreeSet::new()).unwrap();
    assert!(!half.exists());
}

fn only(pool: &Pool, id: &Id, paths: &[&str], containers: &[&str], world: &mut Fake) -> Result<Meta> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (path, state, paths, containers) = (pool.path(), pool.state(), owned(paths), owned(containers));
    let (at, by) = (1_795_254_400, "ben@pc");
    only::Only {
        pool: &path,
        state: &state,
        id,
        paths: &paths,
        containers: &containers,
        at,
        by,
        current: None,
        kept: None,
    }
    .run(world)
}
