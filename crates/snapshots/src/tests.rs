//! Tests on real file systems, in a mount namespace of each test. A restore is killed at every step.

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

/// A fake of Docker and of the mounts, as far as a restore needs them.
#[derive(Default)]
struct Fake {
    mounted: bool,
    running: Vec<String>,
    started: Vec<String>,
    booting: bool,
    die_at: Option<RestoreStep>,
    /// The step at which the power fails, and the device of the pool.
    cut_at: Option<(RestoreStep, PathBuf)>,
    fail_at: Option<RestoreStep>,
    steps: Vec<RestoreStep>,
    paused: bool,
    did: Vec<String>,
    die_taking: Option<String>,
    /// An action at the last moment before the freeze.
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

/// The payload of a panic that simulates a killed process.
struct Killed;

/// Hides the message of such a panic, because it is not a failure.
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
        assert!(self.running.is_empty(), "the data was unmounted while {:?} used it", self.running);
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

/// Runs the test on each file system that a pool can have.
fn on_each(act: impl Fn(Pool)) {
    Filesystem::ALL.into_iter().for_each(|filesystem| act(Pool::on(filesystem)));
}

#[test]
fn a_restore_exchanges_the_present_data_and_a_snapshot() {
    on_each(restores_twice);
}

fn restores_twice(pool: Pool) {
    let first = pool.take();
    pool.write("git/one", "new");
    pool.write("git/two", "more");
    let mut world = Fake::up();
    let kept = pool.restore(&first.id, &mut world).unwrap();
    assert_eq!((pool.read("git/one").as_str(), pool.read("git/two").as_str()), ("old", ""));
    assert_eq!(world.steps, RestoreStep::ALL);
    assert_eq!(world.started, ["registry", "git"], "in the order of their creation");
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
fn a_restore_killed_at_each_step_ends_in_the_old_or_the_new_state() {
    quiet();
    on_each(is_killed_at_each_step);
}

fn is_killed_at_each_step(pool: Pool) {
    let first = pool.take();
    for step in RestoreStep::ALL {
        // Docker answers at once, or only after the data is in place, or the first recovery is killed too.
        for (booting, again) in
            [(false, None), (true, None), (true, Some(RestoreStep::Mount)), (true, Some(RestoreStep::Keep))]
        {
            pool.write("git/one", "new");
            let mut world = Fake { die_at: Some(step), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| pool.restore(&first.id, &mut world).map(drop)));
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step:?}");
            // After the reboot, no container runs and nothing is mounted.
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
                // The restore had not written anything yet.
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
fn a_failure_after_the_switch_blocks_the_next_restore_until_it_is_complete() {
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
fn a_restore_with_another_release_does_not_start_the_old_containers() {
    let pool = Pool::new();
    let first = pool.take();
    let (path, state) = (pool.path(), pool.state());
    let release = Some(serde_json::json!({ "commit": "old" }));
    let restore =
        Restore { pool: &path, state: &state, id: &first.id, at: 1_795_254_400, by: "ben@pc", current: None, release };
    let mut world = Fake::up();
    restore.run(&mut world).unwrap();
    assert!(world.started.is_empty() && world.mounted, "the old containers do not belong to this data");
    assert_eq!(pool.left_over(), ["current.json"]);
    assert!(fs::read_to_string(state.join("current.json")).unwrap().contains("old"));
}

#[test]
fn a_failure_before_the_switch_is_undone() {
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
    assert_eq!(list(&pool.path()).unwrap().len(), 1, "no snapshot was made, because no data was replaced");
    let error = pool.restore(&"20200101-000000".parse().unwrap(), &mut Fake::up()).unwrap_err();
    assert_eq!(error.message, "there is no snapshot `20200101-000000`");
}

#[test]
fn incomplete_snapshots_are_never_listed_and_are_removed() {
    on_each(has_incomplete_snapshots);
}

fn has_incomplete_snapshots(pool: Pool) {
    let path = pool.path();
    let half = path.join("snapshots/.new-20261121-094512");
    fs::create_dir(&half).unwrap();
    volume::copy(&path.join("data"), &half.join("data")).unwrap();
    // A directory that is not a snapshot is not touched.
    fs::create_dir(path.join("snapshots/mine")).unwrap();
    assert!(list(&path).unwrap().is_empty());
    sweep(&path, &BTreeSet::new()).unwrap();
    assert!(!half.exists() && path.join("snapshots/mine").exists());
    let two = [pool.take(), pool.take()].map(|meta| meta.id.to_string());
    assert_eq!(two, ["20261121-094512", "20261121-094512-2"]);
    assert_eq!(find(&path, "latest").unwrap().id.to_string(), two[1]);
    assert!(find(&path, "nothing").unwrap_err().message.contains("there is no snapshot `nothing`"));
    // A snapshot with a name has complete data. It is kept, even if its description is damaged.
    let meta = |id: &str| path.join("snapshots").join(id).join("meta.json");
    let text = fs::read(meta(&two[0])).unwrap();
    for left in ["".as_bytes(), &[0; 700], &text[..20], b"{\"id\": \"of a later lap\"}"] {
        let taken = pool.take();
        fs::write(meta(&taken.id.to_string()), left).unwrap();
        sweep(&path, &BTreeSet::new()).unwrap();
        assert!(data(&path, &taken.id).join("git/one").exists());
        assert!(!is_whole(&path, &taken.id));
        // The record of the operation contains the description.
        assert!(complete(&path, &taken).unwrap() && is_whole(&path, &taken.id));
    }
    // An incomplete snapshot to which a record refers is kept too.
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
