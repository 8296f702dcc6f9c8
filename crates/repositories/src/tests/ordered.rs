//! Tests of the order of copies, with any dates.

use super::{
    forge::{Entry, forge},
    *,
};

const NOON: i64 = 1_795_262_400;
const FAR: i64 = NOON + 20 * 365 * 24 * 3600;

fn ids(office: &Office) -> Vec<snapshot::Id> {
    office.open().copies_of("lab", "test").unwrap().into_iter().map(|copy| copy.id).collect()
}

/// Makes a new node, whose pool has its own counter.
fn made_anew(office: &Office) {
    fs::remove_file(office.pool.path().join("state/snapshot-order.json")).unwrap();
    for meta in snapshot::list(&office.pool.path()).unwrap() {
        snapshot::remove(&office.pool.path(), &meta.id).unwrap();
    }
}

#[test]
fn the_newest_copy_is_the_one_of_the_snapshot_that_was_taken_last() {
    let office = Office::new();
    let tags = ["lap", "lap:test", "lap-id:20991130-050000", "lap-lab:lab"];
    forge(&office.open(), &[Entry::Directory("lap", vec![])], &tags, "2099-11-30T05:00:00Z");
    let earlier_lap = "20991130-050000".parse::<snapshot::Id>().unwrap();
    let (future, present) = (office.take(FAR), office.take(NOON));
    let copies = office.open().copies().unwrap();
    assert!(Position::is_newest(&present, &copies), "a date in the future ends no copies");
    office.copy(&present.id.to_string());
    office.copy(&future.id.to_string());
    assert_eq!(ids(&office), [earlier_lap.clone(), future.id.clone(), present.id.clone()]);
    assert!(!Position::is_newest(&future, &office.open().copies().unwrap()));

    made_anew(&office);
    let anew = office.take(NOON - 500);
    assert!(Position::is_newest(&anew, &office.open().copies().unwrap()), "a new node is newer than the lost one");
    office.copy("latest");
    assert_eq!(ids(&office), [earlier_lap, future.id.clone(), present.id, anew.id.clone()]);
    // A snapshot from the lost node is older than the snapshots of the new node.
    office.fetch(&future).unwrap();
    assert_eq!(snapshot::find(&office.pool.path(), "latest").unwrap().id, anew.id);
    let lost = snapshot::find(&office.pool.path(), &future.id.to_string()).unwrap();
    assert!(!Position::is_newest(&lost, &office.open().copies().unwrap()));
    office.restic(&["check"]);
}

#[test]
fn a_copy_cannot_claim_to_be_newer() {
    let copy = |generation: u64, count: u64| {
        let order = Some(Position { generation, count, line: "a".into() });
        let (lab, environment, restic) = ("lab".to_owned(), "test".to_owned(), String::new());
        Copy {
            id: snapshot::Id::new(NOON, 1),
            lab,
            environment,
            at: NOON,
            order,
            restic,
            size: None,
            asked: false,
            shared: false,
        }
    };
    let order = |line: &str, generation| snapshot::Order { line: line.into(), count: 3, ran: 0, generation };
    let copies = [copy(1, 7), copy(4, 2)];
    assert_eq!(Position::generation(&order("a", None), &copies), Some(1));
    assert_eq!(Position::generation(&order("b", None), &copies), Some(5), "a new line");
    assert_eq!(Position::generation(&order("b", Some(2)), &copies), None, "fetched from elsewhere");
    assert_eq!(Position::generation(&order("b", None), &[]), Some(1));
}

#[test]
fn the_workspace_that_was_stored_last_is_recovered() {
    let office = Office::new();
    let root = office.pool.dir.path().join("workspace");
    fs::create_dir(&root).unwrap();
    let keep = |text: &str| {
        fs::write(root.join("lap.toml"), text).unwrap();
        office.open().keep_workspace("lab", &root).unwrap();
    };
    let kept = || {
        let into = tempfile::tempdir().unwrap();
        workspace(&office.open(), into.path()).unwrap();
        fs::read_to_string(into.path().join("lap.toml")).unwrap()
    };
    // A machine with a wrong clock stored this bundle.
    let entries = vec![Entry::Text("lap.toml", "old".into())];
    let tags = ["lap", "lap-workspace", "lap-lab:lab"];
    forge(&office.open(), &[Entry::Directory("lap-workspace", entries)], &tags, "2099-11-30T05:00:00Z");
    assert_eq!(kept(), "old");
    keep("new");
    assert_eq!(kept(), "new");
    keep("old");
    assert_eq!(kept(), "old");
    let lock = office.open().lock(true).unwrap();
    office.open().forget_old_keys_and_workspaces(&lock).unwrap();
    assert_eq!(kept(), "old");
    keep("newest");
    assert_eq!(kept(), "newest");
}
