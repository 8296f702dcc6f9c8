//! What takes, removes and restores snapshots.

use std::{fs, path::Path};

use lap_repositories::work::fetch;
use lap_snapshots::{self as snapshot, Id, Reason, Restore, volume};

use super::{
    Notes,
    campaign::Campaign,
    pool::{
        CONTAINERS, Machine, is_one_of, meta, on_each, only, recovered, snapshots, take, version, version_of_all,
        write, write_all,
    },
};

const AT: i64 = 1_795_254_312;

fn recover(pool: &Path) -> Result<(), String> {
    recovered(pool).map(drop)
}

fn prepared(pool: &Path) {
    write_all(pool, 1);
}

#[test]
fn a_snapshot_that_was_taken_is_whole() {
    on_each(|filesystem| {
        let run = |pool: &Path, notes: &Notes<(Id, u64)>| {
            for version in 2..7 {
                write_all(pool, version);
                notes.note((take(pool, AT + version as i64).unwrap(), version));
            }
        };
        let check = |pool: &Path, taken: &[(Id, u64)]| {
            recovered(pool)?;
            let all = snapshots(pool)?;
            for (id, version) in taken {
                is_one_of("the snapshot", &all.get(id).map(|(_, version)| *version), &[Some(*version)])?;
            }
            // One that was not acknowledged is the next one.
            for (id, (meta, version)) in &all {
                is_one_of("its time", &meta.at, &[AT + *version as i64])?;
                is_one_of(
                    "its number",
                    version,
                    &[taken.len() as u64 + 2, taken.iter().find(|t| t.0 == *id).map_or(0, |t| t.1)],
                )?;
            }
            Ok(())
        };
        Campaign {
            name: "take",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepared,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

#[derive(Clone)]
enum Removal {
    Begins(Id),
    Done(Id),
}

#[test]
fn a_prune_removes_whole_snapshots_and_no_other() {
    on_each(|filesystem| {
        let ids = std::cell::RefCell::new(Vec::new());
        let prepare = |pool: &Path| {
            for version in 1..8 {
                write_all(pool, version);
                ids.borrow_mut().push(take(pool, AT + version as i64).unwrap());
            }
        };
        let run = |pool: &Path, notes: &Notes<Removal>| {
            for id in ids.borrow().iter().take(5) {
                notes.note(Removal::Begins(id.clone()));
                snapshot::remove(pool, id).unwrap();
                notes.note(Removal::Done(id.clone()));
            }
        };
        let check = |pool: &Path, notes: &[Removal]| {
            recovered(pool)?;
            let all = snapshots(pool)?;
            for (n, id) in ids.borrow().iter().enumerate() {
                let begun = notes.iter().any(|note| matches!(note, Removal::Begins(begun) if begun == id));
                let done = notes.iter().any(|note| matches!(note, Removal::Done(done) if done == id));
                let found = all.get(id).map(|(_, version)| *version);
                let whole = Some(n as u64 + 1);
                let allowed = if done {
                    vec![None]
                } else if begun {
                    vec![None, whole]
                } else {
                    vec![whole]
                };
                is_one_of(&format!("snapshot {n}"), &found, &allowed)?;
            }
            is_one_of("the data", &version_of_all(&pool.join("data"))?, &[7])
        };
        Campaign {
            name: "prune",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepare,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

#[test]
fn a_restore_ends_in_the_old_state_or_the_new_one() {
    on_each(|filesystem| {
        let first = std::cell::RefCell::new(None);
        let prepare = |pool: &Path| {
            write_all(pool, 1);
            *first.borrow_mut() = Some(take(pool, AT).unwrap());
            write_all(pool, 2);
        };
        let run = |pool: &Path, notes: &Notes<()>| {
            let state = pool.join("state");
            let id = first.borrow().clone().unwrap();
            let restore =
                Restore { pool, state: &state, id: &id, at: AT + 9, by: "anna@notebook", current: None, release: None };
            restore.run(&mut Machine { can_start: true }).unwrap();
            notes.note(());
            // As a database in a container does afterwards.
            super::sync_file(&pool.join("data/git/acknowledged"), "after");
            notes.note(());
        };
        let check = |pool: &Path, notes: &[()]| {
            let said = recovered(pool)?;
            let now = version_of_all(&pool.join("data"))?;
            is_one_of("the data", &now, if notes.is_empty() { &[1, 2] } else { &[1] })?;
            if notes.len() == 2 {
                let text = fs::read_to_string(pool.join("data/git/acknowledged"));
                is_one_of("what was written since", &text.unwrap_or_default().as_str(), &["after"])?;
            }
            let all = snapshots(pool)?;
            is_one_of("the first snapshot", &all.values().find(|it| it.0.at == AT).map(|it| it.1), &[Some(1)])?;
            let replaced: Vec<u64> = all.values().filter(|it| it.0.reason == Reason::Replaced).map(|it| it.1).collect();
            match (now, replaced.as_slice()) {
                (1, [2]) | (2, []) => Ok(()),
                _ => Err(format!("the data is {now}, what was replaced {replaced:?}; {said:?}")),
            }
        };
        Campaign {
            name: "restore",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepare,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

#[test]
fn a_restore_of_a_part_ends_in_the_old_state_or_the_new_one() {
    on_each(|filesystem| {
        let first = std::cell::RefCell::new(None);
        let prepare = |pool: &Path| {
            write_all(pool, 1);
            *first.borrow_mut() = Some(take(pool, AT).unwrap());
            write_all(pool, 2);
        };
        let run = |pool: &Path, notes: &Notes<()>| {
            let state = pool.join("state");
            let id = first.borrow().clone().unwrap();
            // A whole container, and then one file of another one.
            for (path, at) in [("git", AT + 9), ("web/one", AT + 10)] {
                only(pool, &state, &id, &[path.to_owned()], at).run(&mut Machine { can_start: true }).unwrap();
                notes.note(());
            }
        };
        let check = |pool: &Path, notes: &[()]| {
            recovered(pool)?;
            let data = pool.join("data");
            let git = version(&data, "git")?;
            is_one_of("git", &git, if notes.is_empty() { &[1, 2] } else { &[1] })?;
            let one = fs::read_to_string(data.join("web/one")).map_err(|error| error.to_string())?;
            let new = one == "web 1;";
            is_one_of("web/one", &new, if notes.len() == 2 { &[true] } else { &[true, false] })?;
            if new {
                // All else of web is as it was.
                fs::write(data.join("web/one"), "web 2;").map_err(|error| error.to_string())?;
            }
            is_one_of("web", &version(&data, "web")?, &[2])?;
            let (all, damaged) = snapshot::all(pool).map_err(|error| error.to_string())?;
            is_one_of("damaged snapshots", &damaged.len(), &[0])?;
            let kept: Vec<&Id> = all.iter().filter(|it| it.reason == Reason::Replaced).map(|it| &it.id).collect();
            is_one_of("snapshots of what was replaced", &kept.len(), &[usize::from(git == 1) + usize::from(new)])?;
            for id in kept {
                let at = all.iter().find(|it| it.id == *id).map_or(0, |it| it.at);
                let data = snapshot::data(pool, id);
                // A snapshot of a part holds all data.
                is_one_of("web that was replaced", &version(&data, "web")?, &[2])?;
                is_one_of("git that was replaced", &version(&data, "git")?, if at == AT + 9 { &[2] } else { &[1] })?;
            }
            Ok(())
        };
        Campaign {
            name: "only",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepare,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

#[test]
fn a_snapshot_from_elsewhere_is_whole() {
    on_each(|filesystem| {
        let run = |pool: &Path, notes: &Notes<Id>| {
            for n in 0..3 {
                let half = pool.join("snapshots/.new-import");
                let number = snapshot::prepare_import(&half).unwrap();
                for container in CONTAINERS {
                    unpack(pool, &half.join("data"), container, 5 + n);
                }
                let id = Id::new(AT + n as i64, 1);
                fs::write(half.join("meta.json"), serde_json::to_vec(&meta(&id, AT)).unwrap()).unwrap();
                notes.note(snapshot::finish_import(pool, &half, number).unwrap().id);
            }
        };
        let check = |pool: &Path, taken: &[Id]| {
            recovered(pool)?;
            let all = snapshots(pool)?;
            let lost: Vec<&Id> = taken.iter().filter(|id| !all.contains_key(id)).collect();
            is_one_of("what is lost", &lost.len(), &[0])?;
            is_one_of("the data", &version_of_all(&pool.join("data"))?, &[1])
        };
        Campaign {
            name: "import",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepared,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

/// As tar does.
fn unpack(pool: &Path, data: &Path, container: &str, version: u64) {
    let _ = pool;
    let fake = data.parent().unwrap();
    // `write` writes below `data` of what it is given.
    write(fake, container, version);
}

#[test]
fn a_fetched_snapshot_is_whole() {
    on_each(|filesystem| {
        let run = |pool: &Path, notes: &Notes<Id>| {
            for n in 0..3 {
                let id = Id::new(AT + n as i64, 1);
                let restore = |half: &Path| {
                    CONTAINERS.iter().for_each(|container| write(half, container, 5 + n));
                    fs::write(half.join("meta.json"), serde_json::to_vec(&meta(&id, AT)).unwrap()).unwrap();
                    Ok(())
                };
                fetch("office", pool, &id, None, restore).unwrap();
                notes.note(id.clone());
            }
        };
        let check = |pool: &Path, taken: &[Id]| {
            recovered(pool)?;
            let all = snapshots(pool)?;
            let lost: Vec<&Id> = taken.iter().filter(|id| !all.contains_key(id)).collect();
            is_one_of("what is lost", &lost.len(), &[0])?;
            is_one_of("the data", &version_of_all(&pool.join("data"))?, &[1])
        };
        Campaign {
            name: "fetch",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepared,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

/// The control run: one that gives the name before the content is on the disk.
#[test]
fn a_snapshot_without_its_content_is_found() {
    on_each(|filesystem| {
        let run = |pool: &Path, _: &Notes<Id>| {
            for n in 0..10 {
                let half = pool.join("snapshots/.new-import");
                fs::create_dir(&half).unwrap();
                volume::create(&half.join("data")).unwrap();
                CONTAINERS.iter().for_each(|container| write(&half, container, 5 + n));
                let id = Id::new(AT + n as i64, 1);
                fs::write(half.join("meta.json"), serde_json::to_vec(&meta(&id, AT)).unwrap()).unwrap();
                fs::rename(&half, pool.join("snapshots").join(id.to_string())).unwrap();
            }
        };
        let check = |pool: &Path, _: &[Id]| recovered(pool).and_then(|_| snapshots(pool)).map(drop);
        let campaign = Campaign {
            name: "control",
            filesystem,
            busy: &["snapshots"],
            prepare: &prepared,
            run: &run,
            recover: Some(&recover),
            check: &check,
        };
        let settings = super::settings::Settings::control();
        let found = campaign.find(&settings);
        assert!(!found.faults.is_empty(), "{filesystem}: {}", found.summary());
    });
}
