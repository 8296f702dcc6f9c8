//! Tests of removals: copies are removed, their space is freed, and the remaining copies are complete after a failure
//! at any step.

use super::*;
use crate::storage::Storage;

/// Makes three copies. Each has its own files, and all have common files, which are in packs with removable data.
fn three() -> (Office, Vec<Meta>) {
    let office = Office::new();
    let git = office.pool.path().join("data/git");
    let mut all = Vec::new();
    for nth in 0..3u64 {
        for part in 0..20u64 {
            fs::write(git.join(format!("{nth}-{part}")), noise(100 * nth + part, 200 << 10)).unwrap();
        }
        // Some files of the first copy remain in the next ones.
        for part in 10..20u64 {
            let _ = fs::remove_file(git.join(format!("{}-{part}", nth.wrapping_sub(1))));
        }
        let meta = office.take(1_795_254_312 + 3600 * nth.cast_signed());
        office.copy(&meta.id.to_string());
        all.push(meta);
    }
    (office, all)
}

fn go(office: &Office, through: Arc<dyn Storage>) -> Result<Pruned> {
    let lock = office.open().lock(true)?;
    let repository = Repository::open_with(through, "office", &office.open().key()?, false, no_progress())?;
    let first = repository.copies()?.into_iter().filter(|copy| copy.at == 1_795_254_312).collect::<Vec<_>>();
    repository.forget(&first, &lock)?;
    repository.forget_old_keys_and_workspaces(&lock)?;
    repository.prune(&lock)
}

fn ids(office: &Office) -> Vec<String> {
    office.open().copies().unwrap().iter().map(|copy| copy.id.to_string()).collect()
}

#[test]
fn remaining_copies_are_complete_after_a_removal_stops_at_any_step() {
    let (office, all) = three();
    let names: Vec<String> = all.iter().map(|meta| meta.id.to_string()).collect();
    let template = office.root().with_extension("before");
    let cp = |from: &Path, to: &Path| sh("cp", &["--archive", from.to_str().unwrap(), to.to_str().unwrap()]);
    cp(&office.root(), &template);
    let mut steps = 0;
    let whole = loop {
        fs::remove_dir_all(office.root()).unwrap();
        cp(&template, &office.root());
        let breaks = Arc::new(FailingStorage { inner: office.storage.clone(), left: AtomicI64::new(steps) });
        let ended = go(&office, breaks);
        // restic takes its lock too.
        assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"), "after {steps} changes");
        assert!(ids(&office) == names || ids(&office) == names[1..], "after {steps} changes");
        if let Ok(pruned) = ended {
            break pruned;
        }
        // The same command completes the removal.
        let again = go(&office, office.storage.clone()).unwrap();
        assert_eq!(ids(&office), names[1..]);
        assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
        assert!(again.after < 11 << 20, "after {steps} changes: {again:?}");
        steps += 1;
    };
    assert!(steps > 4, "{steps}");
    assert!(whole.before > 11 << 20 && whole.after < 11 << 20, "{whole:?}");
    assert!(office.open().verify(Depth::Data(100.0)).unwrap().is_empty());
    // The remaining copies can be restored without a difference.
    let kept = office.take(1_795_300_000);
    snapshot::remove(&office.pool.path(), &all[1].id).unwrap();
    let back = office.fetch(&all[1]).unwrap();
    assert!(office.data(&back).join("git/0-3").exists() && !office.data(&back).join("git/2-3").exists());
    same(&office.data(&kept), &office.data(&all[2]));
}

#[test]
fn old_workspaces_and_keys_are_removed_too() {
    let (office, _) = three();
    let workspace = tempfile::tempdir().unwrap();
    for text in ["one", "two"] {
        fs::write(workspace.path().join("lap.toml"), text).unwrap();
        office.open().keep_workspace("lab", workspace.path()).unwrap();
    }
    let count =
        || office.restic(&["snapshots", "--tag", "lap-workspace", "--compact"]).matches("lap-workspace").count();
    assert_eq!(count(), 2);
    go(&office, office.storage.clone()).unwrap();
    assert_eq!(count(), 1);
    let into = tempfile::tempdir().unwrap();
    super::workspace(&office.open(), into.path()).unwrap();
    assert_eq!(fs::read_to_string(into.path().join("lap.toml")).unwrap(), "two");
}
