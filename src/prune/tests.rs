use std::collections::{BTreeMap, BTreeSet};

use lap_snapshots::{
    Id, Meta, Reason,
    order::{Moment, Order},
};
use serde_json::json;

use super::{
    decide,
    found::{
        Blob, ImageRepository, InstalledFiles, Inventory, Registry, StoppedContainer, StoredImage, StoredManifest,
    },
};

use crate::{
    drivers::node::images::NodeImage,
    release::{LedgerEntry, SwitchOutcome, Verb},
    wire::prune::{ItemKind, PruneDecision, PruneRules},
};

const DAY: i64 = 86_400;
const NOW: i64 = 1_795_262_400;
const RULES: PruneRules = PruneRules { keep: 2, keep_failed: 14 * 86_400, grace: 3600 };

/// The commit of release `n`: 40 hexadecimal digits.
fn commit(n: u64) -> String {
    format!("{n:040x}")
}

fn digest(n: u64) -> String {
    format!("sha256:{n:064x}")
}

/// What release `n` is: one image, built from `b<n>`.
fn release(n: u64) -> serde_json::Value {
    let reference = format!("localhost:5000/infra/{}/git@{}", commit(n), digest(n));
    json!({
        "commit": commit(n), "release": n, "env": format!("e{n}"), "checks": format!("c{n}"), "by": "", "at": 0,
        "containers": {}, "images": { "git": { "build": format!("b{n}"), "parents": [], "reference": reference } },
    })
}

fn image(n: u64) -> StoredImage {
    let place = format!("localhost:5000/infra/{}/git", commit(n));
    StoredImage {
        id: format!("sha256:{n}"),
        tags: vec![format!("{place}:latest")],
        digests: vec![format!("{place}@{}", digest(n))],
        build: Some(format!("b{n}")),
        created: NOW - 30 * DAY,
        size: 10,
        used_by: None,
    }
}

/// In the registry: its layer is `1000 + n`.
fn repository(n: u64) -> ImageRepository {
    let names = Some(BTreeSet::from([digest(1000 + n), digest(5000)]));
    let manifest = StoredManifest { digest: digest(n), since: NOW - 30 * DAY, names };
    ImageRepository { name: format!("infra/{}/git", commit(n)), manifests: vec![manifest], uploading: None }
}

fn blob(n: u64) -> Blob {
    Blob { digest: digest(n), size: 7, since: NOW - 30 * DAY }
}

fn entry(n: u64, verb: Verb, before: &Id) -> LedgerEntry {
    LedgerEntry {
        number: n,
        fence: n,
        began: 0,
        ended: 0,
        by: String::new(),
        verb,
        from: None,
        release: n,
        commit: String::new(),
        images: BTreeMap::new(),
        before: Some(before.clone()),
        checks: 0,
        away: None,
        outage: Vec::new(),
        result: SwitchOutcome::Done,
        previous: String::new(),
    }
}

/// Releases 1 to 5, of which `runs` runs, all of them whole; each was promoted 20 days ago.
fn five(runs: u64) -> Inventory {
    let before = |n: u64| Id::new(NOW - 20 * DAY + n.cast_signed(), 1);
    let snapshot = |n: u64| Meta {
        id: before(n),
        at: NOW - 20 * DAY + n.cast_signed(),
        reason: Reason::Release,
        note: None,
        by: String::new(),
        current: Some(release(n - 1)),
        pause: None,
        order: None,
        nested: Default::default(),
    };
    Inventory {
        current: Some(release(runs)),
        releases: (1..=5).map(|n| (n, release(n))).collect(),
        ledger: (2..=5).map(|n| entry(n, Verb::Promote, &before(n))).collect(),
        snapshots: (2..=5).map(snapshot).collect(),
        images: (1..=5).map(image).collect(),
        files: (1..=5)
            .map(|n| InstalledFiles { place: "env".into(), name: format!("e{n}"), since: NOW - DAY, used_by: None })
            .collect(),
        registry: Some(Registry {
            repositories: (1..=5).map(repository).collect(),
            blobs: (1..=5).flat_map(|n| [blob(n), blob(1000 + n)]).chain([blob(5000)]).collect(),
            linked: BTreeMap::new(),
        }),
        ..Inventory::default()
    }
}

/// The agent has run for long.
fn moment() -> Moment {
    Moment { at: NOW, line: Some("line".into()), ran: 1000 * 86_400 }
}

fn gone(found: &Inventory, what: ItemKind) -> Vec<String> {
    let all = decide(found, &RULES, &moment()).into_iter();
    all.filter(|decision| decision.what == what && decision.todo.is_some()).map(|decision| decision.name).collect()
}

fn why(found: &Inventory, name: &str) -> String {
    let all = decide(found, &RULES, &moment());
    let one = |decision: &&PruneDecision| decision.name == name;
    all.iter().find(one).unwrap_or_else(|| panic!("no {name} in {all:#?}")).why.clone()
}

#[test]
fn the_newest_the_one_that_runs_and_the_one_before_stay_with_all_they_need() {
    let found = five(5);
    assert_eq!(gone(&found, ItemKind::Release), ["1", "2", "3"]);
    assert_eq!(
        [why(&found, "5"), why(&found, "4"), why(&found, "3")],
        ["it runs", "the one before the running one", "not among the newest 2"]
    );
    // Going back to 4 puts back what 5 found; what 4, 3 and 2 found is of no use without them.
    assert_eq!(gone(&found, ItemKind::Snapshot).len(), 3);
    assert_eq!(why(&found, &Id::new(NOW - 20 * DAY + 5, 1).to_string()), "the data for a rollback to release 4");
    assert_eq!(gone(&found, ItemKind::Image).len(), 3);
    assert_eq!(gone(&found, ItemKind::Files), ["env/e1", "env/e2", "env/e3"]);
    assert_eq!(gone(&found, ItemKind::Registry).len(), 3);
    assert_eq!(gone(&found, ItemKind::Layers), ["6 layers"], "three images, and the layer that only each of them has");
    assert_eq!(why(&found, "env/e5"), format!("for what runs, release 5"), "the snapshot that stays is of release 4");
    // After a roll-back to 2: that, and the one before it.
    let found = five(2);
    assert_eq!(gone(&found, ItemKind::Release), ["3"]);
    assert_eq!(gone(&found, ItemKind::Files), ["env/e3"]);
}

#[test]
fn what_a_snapshot_ran_stays_as_long_as_it_does() {
    let mut found = five(5);
    let id = Id::new(NOW - 40 * DAY, 1);
    let asked = Meta {
        id: id.clone(),
        at: NOW - 40 * DAY,
        reason: Reason::Asked,
        note: None,
        by: String::new(),
        current: Some(release(1)),
        pause: None,
        order: None,
        nested: Default::default(),
    };
    found.snapshots.insert(0, asked.clone());
    assert_eq!(gone(&found, ItemKind::Release), ["1", "2", "3"], "it needs no release");
    assert_eq!(gone(&found, ItemKind::Files), ["env/e2", "env/e3"]);
    assert_eq!(why(&found, "env/e1"), format!("for snapshot {id}"));
    assert_eq!(gone(&found, ItemKind::Layers), ["4 layers"]);
    assert!(why(&found, &id.to_string()).contains("`lap snapshot prune` decides"));
    // What a failed release left stays for its time, and needs what it ran.
    for (age, stays) in [(13, true), (14, false)] {
        let failed = Meta { at: NOW - age * DAY, reason: Reason::Failed, ..asked.clone() };
        found.snapshots[0] = failed.clone();
        let is_gone = |moment: &Moment| {
            let all = decide(&found, &RULES, moment);
            all.iter().any(|decision| decision.name == id.to_string() && decision.todo.is_some())
        };
        let jumped = Moment { at: NOW + 1000 * DAY, ran: 1000, ..moment() };
        assert!(!is_gone(&jumped), "the clock jumped ahead: no agent has run for so long");
        let day = |days: i64| u64::try_from(days * DAY).unwrap();
        let order = Order { line: "line".into(), count: 7, ran: day(1000 - age), generation: None };
        found.snapshots[0] = Meta { order: Some(order), at: NOW + 99 * DAY, ..failed };
        assert_eq!(gone(&found, ItemKind::Files).contains(&"env/e1".to_owned()), !stays, "{age} d");
        assert_eq!(gone(&found, ItemKind::Snapshot).contains(&id.to_string()), !stays, "{age} d");
    }
}

#[test]
fn what_cannot_be_read_may_need_anything() {
    let whole = five(5);
    for spoil in [
        (|found| drop(found.releases.insert(4, serde_json::Value::Null))) as fn(&mut Inventory),
        |found| found.snapshots[3].current = Some(json!({ "from": "the future" })),
        |found| found.damaged.push(Id::new(NOW - DAY, 1)),
    ] {
        let mut found = whole.clone();
        spoil(&mut found);
        for what in [ItemKind::Image, ItemKind::Files, ItemKind::Registry] {
            assert_eq!(gone(&found, what), [""; 0], "{what:?}");
        }
        assert!(why(&found, "env/e1").ends_with("cannot be read and may need it"), "{}", why(&found, "env/e1"));
    }
    // Nothing is known of what runs: no release is said to be old.
    let mut found = whole.clone();
    found.current = Some(json!(7));
    assert_eq!(gone(&found, ItemKind::Release), [""; 0]);
    // A manifest that is none could name any layer.
    let mut found = whole;
    found.registry.as_mut().unwrap().repositories[4].manifests[0].names = None;
    assert_eq!(gone(&found, ItemKind::Layers), [""; 0]);
    assert!(why(&found, "all").contains("cannot be read"));
}

#[test]
fn what_is_not_of_lap_stays_and_what_came_lately_does() {
    let mut found = five(5);
    let mine = StoredImage { tags: vec!["mine:1".into()], ..StoredImage { build: None, ..image(1) } };
    let young = StoredImage { created: NOW - 60, ..image(2) };
    let used = StoredImage { used_by: Some("infra_old".into()), ..image(3) };
    let left = StoredImage { id: "sha256:abcdef0123456789".into(), created: NOW - DAY, ..StoredImage::default() };
    let killed = StoredImage { tags: vec![format!("127.0.0.1:5001/infra/{}/git:latest", commit(9))], ..image(1) };
    found.images = vec![mine, young, used, left, killed];
    let name = format!("infra/{}/git:latest", &commit(9)[..12]);
    assert_eq!(gone(&found, ItemKind::Image), ["abcdef012345", &name], "the name that a killed push left is lap's");
    let registry = found.registry.as_mut().unwrap();
    registry.repositories.push(ImageRepository { name: "hello/world".into(), ..repository(7) });
    // Somebody pushes into this one right now.
    registry.repositories[0].uploading = Some(NOW - 5);
    registry.blobs.extend([blob(9000), Blob { since: NOW - 60, ..blob(9001) }, blob(9002), blob(1007)]);
    registry.linked.insert(digest(9002), NOW - 60);
    assert_eq!(why(&found, "hello/world"), "does not belong to lap");
    assert_eq!(gone(&found, ItemKind::Registry).len(), 1, "of 3, a container is made");
    // Of release 2 two, and the one that nobody names and nobody asked for lately.
    assert_eq!(gone(&found, ItemKind::Layers), ["3 layers"]);
}

#[test]
fn an_index_keeps_what_it_is_made_of() {
    let mut found = five(5);
    let registry = found.registry.as_mut().unwrap();
    let part = StoredManifest { digest: digest(77), since: 0, names: Some(BTreeSet::new()) };
    registry.repositories[4].manifests[0].names.as_mut().unwrap().insert(digest(77));
    for at in [1, 4] {
        registry.repositories[at].manifests.push(part.clone());
    }
    assert_eq!(gone(&found, ItemKind::Registry).len(), 4);
}

#[test]
fn containers_that_should_run_stay() {
    let mut found = five(5);
    found.current.as_mut().unwrap()["containers"] =
        json!({ "git": serde_json::to_value(crate::config::model::Container::new("git")).unwrap() });
    let stopped = |name: &str, of: Option<&str>| StoppedContainer {
        id: name.into(),
        name: name.into(),
        of: of.map(str::to_owned),
        state: "exited".into(),
    };
    found.containers =
        vec![stopped("infra_git", Some("git")), stopped("infra_old", Some("old")), stopped("lap_kept_git", None)];
    assert_eq!(gone(&found, ItemKind::Container), ["infra_old", "lap_kept_git"]);
}

#[test]
fn images_of_nodes_that_no_node_has() {
    let image = |tag: &str, age: i64, used_by: Option<&str>| NodeImage {
        tag: tag.into(),
        created: NOW - age,
        size: 1,
        used_by: used_by.map(str::to_owned),
    };
    let all = [
        image("lap/node:wished", 9 * DAY, None),
        image("lap/node:used", 9 * DAY, Some("lap-x-test")),
        image("lap/node:young", DAY - 1, None),
        image("lap/node:old", DAY, None),
    ];
    let decisions = crate::plan::node_images::decide(&all, "lap/node:wished", &RULES, NOW);
    let gone: Vec<&str> = decisions.iter().filter(|d| d.todo.is_some()).map(|d| d.name.as_str()).collect();
    assert_eq!(gone, ["lap/node:old"]);
}

#[test]
fn what_only_checks_run_in_stays_with_its_release() {
    let mut found = five(5);
    // No container runs from `base`: the release names its image all the same.
    let named = json!({ "build": "b-base", "parents": [], "reference": null });
    for release in found.releases.values_mut().chain(&mut found.current) {
        if release["release"] == 5 {
            release["images"]["base"] = named.clone();
        }
    }
    let base = StoredImage {
        build: Some("b-base".into()),
        id: "sha256:base".into(),
        tags: Vec::new(),
        digests: Vec::new(),
        ..image(5)
    };
    found.images.push(base);
    assert!(!gone(&found, ItemKind::Image).contains(&"base".to_owned()));
    assert_eq!(why(&found, "base"), "for what runs, release 5");
}
