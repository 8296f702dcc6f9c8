//! Tests with forged repositories: each is refused before anything is written, and nothing is ever written outside of
//! the target.

use lap_base::error::Kind;
use lap_snapshots::Id;

use super::{
    forge::{Entry, PAYLOAD, forge},
    *,
};

/// Forges a copy of an environment's data.
fn copy_with(office: &Office, mut entries: Vec<Entry>) -> (Id, String) {
    let meta = office.take(1_795_000_000);
    snapshot::remove(&office.pool.path(), &meta.id).unwrap();
    entries.push(Entry::Text("meta.json", serde_json::to_string(&meta).unwrap()));
    let id = format!("lap-id:{}", meta.id);
    let tags = ["lap", "lap:test", &id, "lap-lab:lab"];
    let restic = forge(&office.open(), &[Entry::Directory("lap", entries)], &tags, "2026-11-30T05:00:00Z");
    (meta.id, restic)
}

fn data(entries: Vec<Entry>) -> Vec<Entry> {
    vec![Entry::Directory("data", entries)]
}

#[test]
fn a_forged_copy_is_refused_before_anything_is_written() {
    let office = Office::new();
    let outside = office.pool.dir.path().join("outside");
    let absolute: &'static str = Box::leak(outside.join("absolute").display().to_string().into_boxed_str());
    fs::create_dir(&outside).unwrap();
    let up: &'static str = "../../../../../outside/relative";
    let deep = || Entry::Directory("a", vec![Entry::File(up)]);
    let cases: Vec<(Vec<Entry>, &str)> = vec![
        (data(vec![Entry::File(up)]), "`data/../../../../../outside/relative`"),
        (data(vec![deep()]), "`data/a/../../../../../outside/relative`"),
        (data(vec![Entry::File(absolute)]), "absolute`"),
        (data(vec![Entry::Directory("..", vec![Entry::File("x")])]), "`data/..`"),
        (data(vec![Entry::File(".")]), "`data/.`"),
        (data(vec![Entry::File("")]), "`data/`"),
        (data(vec![Entry::File("a\\x00b")]), "`data/a\\0b`"),
        (data(vec![Entry::File("\\x1b[2J/x")]), "`data/\\u{1b}[2J/x`"),
        (data(vec![Entry::File("twice"), Entry::Link("twice", "/etc")]), "`data/twice`, twice"),
        (data(vec![Entry::LinkWithEntries("l", "/etc", vec![Entry::File("x")])]), "`data/l`"),
        (data(vec![Entry::Endless("deeper")]), "deeper"),
        (vec![Entry::Link("data", "/etc")], "`data`"),
        (vec![Entry::Directory("data", vec![]), Entry::Directory("etc", vec![])], "`etc`"),
        (
            vec![Entry::Directory("data", vec![]), Entry::Directory("state", vec![Entry::Link("dns", "/etc")])],
            "`state/dns`",
        ),
    ];
    for (entries, named) in cases {
        let (id, restic) = copy_with(&office, entries);
        let error = office.fetch_as(&id, &restic).expect_err(named);
        assert_eq!(error.kind, Kind::Refused, "{named}: {error}");
        assert!(error.message.contains("`office`") && error.message.contains(named), "{named}: {error}");
        assert!(!error.message.chars().any(char::is_control), "{error:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{named}");
        assert_eq!(office.pool.left_over(), Vec::<String>::new(), "{named}");
        assert!(snapshot::list(&office.pool.path()).unwrap().is_empty(), "{named}");
    }
    // The control run shows that the forged repository is readable: an entry with a valid name is restored.
    let (id, restic) = copy_with(&office, data(vec![Entry::Directory("one", vec![Entry::File("fine")])]));
    let meta = office.fetch_as(&id, &restic).unwrap();
    assert_eq!(fs::read_to_string(office.data(&meta).join("one/fine")).unwrap(), PAYLOAD);
}

/// The control run restores the same entry with rustic_core alone, which writes outside of the target. So the check
/// prevents a real attack.
#[test]
fn rustic_core_alone_writes_outside_the_target() {
    use rustic_core::{LocalDestination, LsOptions, RestoreOptions};
    let office = Office::new();
    let (_, restic) = copy_with(&office, data(vec![Entry::File("../../outside")]));
    let tree = office.open().inner.to_indexed().unwrap();
    let node = tree.node_from_snapshot_path(&format!("{restic}:/lap"), |_| true).unwrap();
    let all = tree.ls(&node, &LsOptions::default()).unwrap();
    let target = office.pool.dir.path().join("restored");
    let destination = LocalDestination::new(target.to_str().unwrap(), true, false).unwrap();
    let options = RestoreOptions::default();
    let plan = tree.prepare_restore(&options, all.clone(), &destination, false).unwrap();
    tree.restore(plan, &options, all, &destination).unwrap();
    assert_eq!(fs::read_to_string(office.pool.dir.path().join("outside")).unwrap(), PAYLOAD);
}

const WORKSPACE: [&str; 3] = ["lap", "lap-workspace", "lap-lab:lab"];

/// Forges a workspace that is newer than the earlier ones.
fn workspace_with(office: &Office, entries: Vec<Entry>) {
    let minute = office.storage.list(Folder::Snapshots).unwrap().len();
    let time = format!("2030-11-30T05:{minute:02}:00Z");
    forge(&office.open(), &[Entry::Directory("lap-workspace", entries)], &WORKSPACE, &time);
}

#[test]
fn a_forged_workspace_writes_nothing_outside_and_runs_no_program() {
    let office = Office::new();
    let dir = tempfile::tempdir().unwrap();
    let (into, outside) = (dir.path().join("new"), dir.path().join("outside"));
    let absolute: &'static str = Box::leak(outside.join("absolute").display().to_string().into_boxed_str());
    for wrong in [
        vec![Entry::File("../../outside/x")],
        vec![Entry::File(absolute)],
        vec![Entry::Directory("scripts", vec![Entry::File("../../outside/x")])],
        vec![Entry::Link("scripts", "/etc"), Entry::Directory("scripts", vec![Entry::File("x")])],
        // More data than a disk contains, in some megabytes.
        vec![Entry::Large("large", 200_000)],
    ] {
        fs::create_dir(&into).unwrap();
        fs::create_dir(&outside).unwrap();
        workspace_with(&office, wrong);
        let error = workspace(&office.open(), &into).unwrap_err();
        assert!(error.kind == Kind::Refused && error.message.contains("`office`"), "{error}");
        assert_eq!(fs::read_dir(&outside).unwrap().count() + fs::read_dir(&into).unwrap().count(), 0, "{error}");
        fs::remove_dir(&into).unwrap();
        fs::remove_dir(&outside).unwrap();
    }

    // lap writes its keys and git's settings below these names, and git would run programs that it finds there.
    fs::create_dir(&into).unwrap();
    fs::create_dir(&outside).unwrap();
    let link: &'static str = Box::leak(outside.display().to_string().into_boxed_str());
    workspace_with(
        &office,
        vec![
            Entry::File("lap.toml"),
            Entry::Link(".lap", link),
            Entry::Directory(
                ".git",
                vec![
                    Entry::File("HEAD"),
                    Entry::Link("config", absolute),
                    Entry::File("commondir"),
                    Entry::Directory("hooks", vec![Entry::File("post-checkout")]),
                    Entry::Directory("info", vec![Entry::File("attributes"), Entry::File("exclude")]),
                    Entry::Directory("modules", vec![Entry::Directory("x", vec![Entry::File("config")])]),
                ],
            ),
        ],
    );
    workspace(&office.open(), &into).unwrap();
    // The files that `lap recover` writes next.
    fs::create_dir_all(into.join(".lap/keys")).unwrap();
    fs::write(into.join(".lap/keys/admin"), "key").unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let there = |name: &str| fs::symlink_metadata(into.join(name)).is_ok();
    assert!(there("lap.toml") && there(".git/HEAD") && there(".git/info/exclude") && there(".lap/keys/admin"));
    for gone in [".git/commondir", ".git/hooks", ".git/info/attributes", ".git/modules"] {
        assert!(!there(gone), "{gone}");
    }
    let config = fs::read_to_string(into.join(".git/config")).unwrap();
    assert!(config.starts_with("[core]") && !fs::symlink_metadata(into.join(".git/config")).unwrap().is_symlink());
}

#[test]
fn a_forged_name_of_a_lab_is_refused() {
    let office = Office::new();
    for lab in ["lap-lab:../../x", "lap-lab:/etc/x", "lap-lab:\u{1b}[2J", "lap-lab:"] {
        let _ = fs::remove_dir_all(office.root().join("snapshots"));
        for (tag, top) in [("lap-workspace", "lap-workspace"), ("lap-keys", "lap-keys")] {
            forge(&office.open(), &[Entry::Directory(top, vec![])], &["lap", tag, lab], "2030-11-30T05:00:00Z");
        }
        let error = office.open().recoverable().unwrap_err();
        assert_eq!(error.message, "`office` does not name its lab", "{lab:?}");
    }
    let tags = ["lap", "lap:\u{1b}[2J", "lap-id:20261118-110640", "lap-lab:\u{1b}[2J"];
    forge(&office.open(), &[Entry::Directory("lap", vec![])], &tags, "2030-11-30T05:00:00Z");
    assert_eq!(office.open().copies().unwrap(), []);
}

#[test]
fn forged_keys_cannot_refer_to_another_file() {
    let office = Office::new();
    let keys = |entries| {
        let _ = fs::remove_dir_all(office.root().join("snapshots"));
        forge(&office.open(), &[Entry::Directory("lap-keys", entries)], &["lap", "lap-keys"], "2030-11-30T05:00:00Z");
        office.open().sealed_keys().unwrap_err()
    };
    let error = keys(vec![Entry::Link("identity.age", "/etc/passwd"), Entry::File("keys.age")]);
    assert!(error.kind == Kind::Refused && error.message.contains("is not a file"), "{error}");
    keys(vec![Entry::Large("identity.age", 100), Entry::File("keys.age")]);
}
