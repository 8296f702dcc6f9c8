//! Tests of the journal after faults of the disk, and of the serials after changes of the clock and after restores.

mod leases;

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::sync::Notify;

use super::{Frame, Mark, Store, StoreDirectories, ZoneJournal, frame, journal::JournalState, unix};
use crate::server::{
    audit::Audit,
    load, wire,
    zones::{Diff, Layer, Zones, write},
};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Returns a frame of each kind, with different lengths.
fn frames() -> Vec<Frame> {
    let zone: Box<[u8]> = wire::name("internal").unwrap();
    let record = |n: u8| {
        let mut out = wire::name(&format!("n{n}.internal")).unwrap().to_vec();
        write(&mut out, 1, 60, &[10, 0, 0, n]);
        out
    };
    let diff = Diff { zone: zone.clone(), from: 7, to: 8, gone: record(1), new: [record(2), record(3)].concat() };
    vec![
        Frame::Zone { name: zone.clone(), serial: 7, fixed: u64::MAX },
        Frame::Records(record(1)),
        Frame::Change(diff),
        Frame::Lease { name: zone, rtype: 1, until: 1 << 40 },
        Frame::Answered { time: 1 << 33, fingerprint: 0x0123_4567_89ab_cdef, code: 8 },
    ]
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|f| frame::write(&mut out, f));
    out
}

fn open(dir: &Path) -> (ZoneJournal, JournalState, Vec<Frame>) {
    let mut all = Vec::new();
    let (journal, found) = ZoneJournal::open(dir, |frame| all.push(frame)).unwrap();
    (journal, found, all)
}

/// Writes a journal with these frames, closes it, and returns its bytes.
fn written(dir: &Path, frames: &[Frame]) -> Vec<u8> {
    let (mut journal, ..) = open(dir);
    journal.append(&bytes(frames)).unwrap();
    fs::read(dir.join("names.journal")).unwrap()
}

#[test]
fn written_frames_are_read_again() {
    let dir = dir();
    written(dir.path(), &frames());
    let (mut journal, found, back) = open(dir.path());
    assert_eq!((back, found.frames, found.damage), (frames(), 5, None));
    journal.append(&bytes(&frames()[..1])).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).2.len(), 6);
}

/// The file ends at each byte of the last two frames. The earlier frames are read, the damage is reported, the file is
/// kept, and the journal can be used.
#[test]
fn a_truncated_journal_keeps_its_complete_frames() {
    let model = dir();
    let whole = written(model.path(), &frames());
    let ends: Vec<usize> = (0..=frames().len()).map(|n| whole.len() - bytes(&frames()[n..]).len()).collect();
    for cut in ends[3]..whole.len() {
        let dir = dir();
        fs::write(dir.path().join("names.journal"), &whole[..cut]).unwrap();
        let good = ends.iter().rposition(|end| *end <= cut).unwrap();
        let (mut journal, found, back) = open(dir.path());
        assert_eq!(back, frames()[..good], "cut at {cut}");
        assert_eq!(found.damage.is_some(), !ends.contains(&cut), "cut at {cut}");
        if let Some(said) = found.damage {
            assert!(
                said.contains(&format!("damaged {} bytes from its start", ends[good])) && !said.contains('\n'),
                "{said}"
            );
            assert_eq!(fs::read(dir.path().join("names.journal.damaged")).unwrap(), whole[..cut]);
            assert!(journal.append(b"x").is_err(), "nothing is written after damage");
            journal.rewrite(back.into_iter()).unwrap();
            assert_eq!(
                fs::read(dir.path().join("names.journal.damaged")).unwrap(),
                whole[..cut],
                "the damaged file remains"
            );
        }
        journal.append(&bytes(&frames()[..1])).unwrap();
        drop(journal);
        let (_, found, back) = open(dir.path());
        assert_eq!((back.len(), found.damage), (good + 1, None), "cut at {cut}");
    }
}

/// Each byte is changed, one after the other. The frames before it are read, and no wrong frame is.
#[test]
fn a_changed_byte_ends_the_journal() {
    let model = dir();
    let whole = written(model.path(), &frames());
    let magic = whole.len() - bytes(&frames()).len();
    for at in 0..whole.len() {
        let dir = dir();
        let mut bent = whole.clone();
        bent[at] ^= 0x40;
        fs::write(dir.path().join("names.journal"), &bent).unwrap();
        let (_, found, back) = open(dir.path());
        assert_eq!(back, frames()[..back.len()], "byte {at}");
        let before = (0..frames().len()).rev().find(|n| magic + bytes(&frames()[..*n]).len() <= at).unwrap_or(0);
        assert_eq!(back.len(), before, "byte {at}");
        assert!(found.damage.is_some(), "byte {at}");
    }
}

#[test]
fn a_file_that_is_not_a_journal_is_kept_under_another_name() {
    for (what, content, damaged) in [
        ("empty", &b""[..], false),
        ("garbage", &[0xa5; 1000], true),
        ("a zone file", b"$ORIGIN internal.\n@ SOA ns hostmaster 1 2 3 4 5\n", true),
        ("an incomplete first line", b"lap dns jour", true),
        ("a journal of a later version", b"lap dns journal 2\n....", true),
    ] {
        let dir = dir();
        fs::write(dir.path().join("names.journal"), content).unwrap();
        let store = started(dir.path(), &zones(1)).unwrap();
        let aside = fs::read(dir.path().join("names.journal.damaged")).ok();
        assert_eq!(aside.as_deref(), damaged.then_some(content), "{what}");
        drop(store);
        let (_, found, back) = open(dir.path());
        assert!(found.damage.is_none() && !back.is_empty(), "{what}: a valid journal replaces it");
    }
}

#[test]
fn only_one_server_can_open_the_journal() {
    let dir = dir();
    let first = started(dir.path(), &zones(1)).unwrap();
    let second = started(dir.path(), &zones(1)).err().expect("the first one has it").to_string();
    assert!(second.contains(&format!("`{}`", dir.path().display())), "{second}");
    assert!(second.contains("another name server uses it"), "{second}");
    drop(first);
    started(dir.path(), &zones(1)).unwrap();
}

/// A rewrite that was killed leaves a file. The next start removes it.
#[test]
fn a_killed_rewrite_changes_nothing() {
    let dir = dir();
    let whole = written(dir.path(), &frames());
    for half in [&whole[..0], &whole[..30], &whole] {
        fs::write(dir.path().join("names.journal.new"), half).unwrap();
        let (_, found, back) = open(dir.path());
        assert_eq!((back, found.damage), (frames(), None));
        assert!(!dir.path().join("names.journal.new").exists());
    }
}

/// A journal does not grow without limit, even with many restarts.
#[test]
fn a_long_journal_is_rewritten_also_after_restarts() {
    let dir = dir();
    let mut least = u64::MAX;
    for _ in 0..40 {
        let (mut journal, ..) = open(dir.path());
        if journal.wants_rewriting() {
            journal.rewrite(frames().into_iter().take(2)).unwrap();
            let length = fs::metadata(dir.path().join("names.journal")).unwrap().len();
            least = least.min(length);
        }
        let some: Vec<u8> = bytes(&frames()[2..3]).repeat(2000);
        journal.append(&some).unwrap();
    }
    assert!(least < 200, "it was never rewritten");
    assert!(fs::metadata(dir.path().join("names.journal")).unwrap().len() < 5 << 20);
}

/// Returns the zones of the test, with `more` names of the workspace.
fn zones(more: u8) -> Zones {
    let mut names = crate::names::Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some([192, 168, 0, 10].into()),
        ..Default::default()
    };
    names.hosts.extend((0..more).map(|i| (format!("h{i}.internal."), [192, 168, 0, 100 + i].into())));
    load::zones(&names, 1).unwrap()
}

fn directories(dir: &Path) -> StoreDirectories {
    for sub in ["data", "state"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    StoreDirectories { data: Some(dir.join("data")), state: Some(dir.join("state")) }
}

/// Opens a store with the journal in `dir` itself and without a mark.
fn started(dir: &Path, zones: &Zones) -> lap_base::Result<Store> {
    open_at(&StoreDirectories { data: Some(dir.into()), state: None }, zones)
}

fn open_at(directories: &StoreDirectories, like: &Zones) -> lap_base::Result<Store> {
    let mut zones = Zones::with_capacity(8);
    for (index, apex) in like.apexes().iter().enumerate() {
        zones.add_zone(&apex.name, &apex.soa, 30, 60, &wire::name("ns.internal").unwrap());
        for node in like.nodes(index) {
            zones.set(node.name(), Layer::Fixed, node.layer(Layer::Fixed).0).unwrap();
        }
    }
    Store::open(directories, zones, Arc::new(Audit::default()), Arc::new(Notify::new()))
}

fn serials(store: &Store) -> Vec<u32> {
    store.zones.read().unwrap().apexes().iter().map(crate::server::zones::Apex::serial).collect()
}

/// Registers a name in the zone at this position.
fn register(store: &mut Store, zone: usize, label: &str) {
    let (apex, from, to) = {
        let zones = store.zones.read().unwrap();
        let apex = &zones.apexes()[zone];
        (apex.name.clone(), apex.serial(), super::Batch::default().next_serial(&zones))
    };
    let mut new = [&[label.len() as u8], label.as_bytes(), &apex].concat();
    write(&mut new, 1, 60, &[10, 0, 0, 1]);
    let diff = Diff { zone: apex.clone(), from, to, gone: vec![], new };
    let mut batch = super::Batch::default();
    frame::write(&mut batch.frames, &Frame::Change(diff.clone()));
    batch.serials.insert(apex, diff.to);
    store.write(&batch).unwrap();
    store.apply(vec![diff], Default::default());
}

fn has(store: &Store, name: &str) -> bool {
    store.zones.read().unwrap().node(&wire::name(name).unwrap()).is_some()
}

/// A server that ended normally continues with its serials. After a kill, or with other names, the serials are new.
#[test]
fn serials_continue_or_increase() {
    let dir = dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    let first = serials(&store);
    register(&mut store, 0, "a");
    assert_eq!(serials(&store), [first[0] + 1, first[1]]);
    store.close();
    drop(store);
    let mut store = open_at(&directories, &zones(1)).unwrap();
    assert_eq!(serials(&store), [first[0] + 1, first[1]], "ended normally");
    assert!(has(&store, "a.internal"));
    register(&mut store, 1, "b");
    drop(store);
    let mut killed = open_at(&directories, &zones(1)).unwrap();
    assert!(serials(&killed).iter().all(|s| *s > first[0] + 1), "killed");
    let before = serials(&killed);
    killed.close();
    drop(killed);
    let other = open_at(&directories, &zones(2)).unwrap();
    assert!(serials(&other)[0] > before[0], "other names");
}

/// The data of the night before are restored, and the mark remains: no zone gets a serial that a secondary may have
/// with other records.
#[test]
fn a_restore_increases_the_serial_of_every_zone() {
    for peaceful in [true, false] {
        for zone in [0, 1] {
            let dir = dir();
            let directories = directories(dir.path());
            let data = dir.path().join("data/names.journal");
            let mut store = open_at(&directories, &zones(1)).unwrap();
            // The zones get different serials, and the mark is exactly the higher one.
            register(&mut store, 0, "a");
            store.close();
            drop(store);
            let snapshot = fs::read(&data).unwrap();
            let mut store = open_at(&directories, &zones(1)).unwrap();
            register(&mut store, zone, "later");
            let seen = serials(&store);
            if peaceful {
                store.close();
            }
            drop(store);
            fs::write(&data, snapshot).unwrap();
            let store = open_at(&directories, &zones(1)).unwrap();
            let name = ["later.internal", "later.0.168.192.in-addr.arpa"][zone];
            assert!(!has(&store, name), "it was restored");
            let now = serials(&store);
            assert!(now.iter().zip(&seen).all(|(now, seen)| now > seen), "zone {zone}: {seen:?} then {now:?}");
        }
    }
}

/// The clock was a year ahead when the serials were assigned.
#[test]
fn a_clock_that_is_set_back_does_not_decrease_serials() {
    let dir = dir();
    let directories = directories(dir.path());
    let ahead = unix() as u32 + 365 * 86_400;
    fs::write(dir.path().join("state/serial"), format!("{ahead}\n")).unwrap();
    let store = open_at(&directories, &zones(1)).unwrap();
    let given = serials(&store);
    assert!(given[0] > ahead);
    drop(store);
    // Without the mark, the journal has the highest serial.
    fs::remove_file(dir.path().join("state/serial")).unwrap();
    let store = open_at(&directories, &zones(2)).unwrap();
    assert!(serials(&store)[0] > given[0]);
    drop(store);
    // A damaged mark does not count as missing, because a serial could then be used twice.
    for file in ["state/serial", "data/names.journal"] {
        fs::write(dir.path().join(file), "garbage").unwrap();
    }
    let refused = open_at(&directories, &zones(2)).err().unwrap();
    assert!(
        refused.message.contains("state/serial` does not contain a serial") && !refused.hints.is_empty(),
        "{refused:?}"
    );
    // Without both, nothing is known of earlier serials, and the server uses the time.
    fs::remove_file(dir.path().join("state/serial")).unwrap();
    let store = open_at(&directories, &zones(2)).unwrap();
    assert!(serials(&store)[0] < ahead);
}

/// The mark is written ahead of the serials, and not more often than necessary.
#[test]
fn the_mark_is_ahead_of_every_serial() {
    let dir = dir();
    let read = || fs::read_to_string(dir.path().join("serial")).unwrap().trim().parse::<u32>().unwrap();
    let (mut mark, known) = Mark::open(Some(dir.path())).unwrap();
    assert_eq!(known, None);
    mark.reserve(100).unwrap();
    let first = read();
    assert!(first > 100);
    mark.reserve(first).unwrap();
    assert_eq!(read(), first);
    mark.reserve(first + 1).unwrap();
    assert!(read() > first + 1);
    mark.settle(first + 1).unwrap();
    assert_eq!(Mark::open(Some(dir.path())).unwrap().1, Some(first + 1));
    let (mut mark, _) = Mark::open(Some(dir.path())).unwrap();
    mark.reserve(50).unwrap();
    assert!(read() > first + 1, "a change raises the mark above the settled value");
}

/// The reverse zone is defined by another network. Its registered names are still served after the next start.
#[test]
fn names_remain_if_their_zone_is_defined_by_another_network() {
    let dir = dir();
    let mut store = started(dir.path(), &zones(1)).unwrap();
    register(&mut store, 1, "77");
    drop(store);
    let names = crate::names::Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        reverse: vec!["192.168.0.0/16".into()],
        ..Default::default()
    };
    let store = started(dir.path(), &load::zones(&names, 1).unwrap()).unwrap();
    assert_eq!(serials(&store).len(), 2);
    assert!(has(&store, "77.0.168.192.in-addr.arpa"));
}
