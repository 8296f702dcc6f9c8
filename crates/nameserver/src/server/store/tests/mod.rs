//! What the disk did to the journal, and what the clock and a restore did to the serials.

mod leases;

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::sync::Notify;

use super::{Frame, Mark, Places, Store, ZoneJournal, frame, journal::JournalState, unix};
use crate::server::{
    audit::Audit,
    load, wire,
    zones::{Diff, Layer, Zones, write},
};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// One of each kind, with different lengths.
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

/// A journal of these frames, closed again.
fn written(dir: &Path, frames: &[Frame]) -> Vec<u8> {
    let (mut journal, ..) = open(dir);
    journal.append(&bytes(frames)).unwrap();
    fs::read(dir.join("names.journal")).unwrap()
}

#[test]
fn what_is_written_comes_back() {
    let dir = dir();
    written(dir.path(), &frames());
    let (mut journal, found, back) = open(dir.path());
    assert_eq!((back, found.frames, found.damage), (frames(), 5, None));
    journal.append(&bytes(&frames()[..1])).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).2.len(), 6);
}

/// A tail torn at every byte of the last two frames: everything before it is there, it is said, it is kept, and the journal
/// goes on.
#[test]
fn a_torn_tail() {
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
            assert!(journal.append(b"x").is_err(), "nothing is written behind damage");
            journal.rewrite(back.into_iter()).unwrap();
            assert_eq!(fs::read(dir.path().join("names.journal.damaged")).unwrap(), whole[..cut], "still there");
        }
        journal.append(&bytes(&frames()[..1])).unwrap();
        drop(journal);
        let (_, found, back) = open(dir.path());
        assert_eq!((back.len(), found.damage), (good + 1, None), "cut at {cut}");
    }
}

/// Every byte flipped, one after the other: what lies before counts, and what is read is what was written.
#[test]
fn a_flipped_byte() {
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
fn a_file_that_is_no_journal_is_kept_aside() {
    for (what, content, damaged) in [
        ("empty", &b""[..], false),
        ("garbage", &[0xa5; 1000], true),
        ("somebody else's", b"$ORIGIN internal.\n@ SOA ns hostmaster 1 2 3 4 5\n", true),
        ("the first line of one", b"lap dns jour", true),
        ("of a later lap", b"lap dns journal 2\n....", true),
    ] {
        let dir = dir();
        fs::write(dir.path().join("names.journal"), content).unwrap();
        let store = started(dir.path(), &zones(1)).unwrap();
        let aside = fs::read(dir.path().join("names.journal.damaged")).ok();
        assert_eq!(aside.as_deref(), damaged.then_some(content), "{what}");
        drop(store);
        let (_, found, back) = open(dir.path());
        assert!(found.damage.is_none() && !back.is_empty(), "{what}: a sound journal stands in its place");
    }
}

#[test]
fn one_server_at_a_time() {
    let dir = dir();
    let first = started(dir.path(), &zones(1)).unwrap();
    let second = started(dir.path(), &zones(1)).err().expect("the first one has it").to_string();
    assert!(second.contains(&format!("`{}`", dir.path().display())), "{second}");
    assert!(second.contains("another name server uses it"), "{second}");
    drop(first);
    started(dir.path(), &zones(1)).unwrap();
}

/// A rewriting that was killed before its end leaves a file that nobody misses.
#[test]
fn a_rewriting_that_was_killed() {
    let dir = dir();
    let whole = written(dir.path(), &frames());
    for half in [&whole[..0], &whole[..30], &whole] {
        fs::write(dir.path().join("names.journal.new"), half).unwrap();
        let (_, found, back) = open(dir.path());
        assert_eq!((back, found.damage), (frames(), None));
        assert!(!dir.path().join("names.journal.new").exists());
    }
}

/// However often it is started in between, it does not grow for ever.
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

/// The office's zones, and in them as many more names of the workspace.
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

fn places(dir: &Path) -> Places {
    for sub in ["data", "state"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    Places { data: Some(dir.join("data")), state: Some(dir.join("state")) }
}

/// With the journal in `dir` itself and no mark.
fn started(dir: &Path, zones: &Zones) -> lap_base::Result<Store> {
    open_at(&Places { data: Some(dir.into()), state: None }, zones)
}

fn open_at(places: &Places, like: &Zones) -> lap_base::Result<Store> {
    let mut zones = Zones::with_capacity(8);
    for (index, apex) in like.apexes().iter().enumerate() {
        zones.add_zone(&apex.name, &apex.soa, 30, 60, &wire::name("ns.internal").unwrap());
        for node in like.nodes(index) {
            zones.set(node.name(), Layer::Fixed, node.layer(Layer::Fixed).0).unwrap();
        }
    }
    Store::open(places, zones, Arc::new(Audit::default()), Arc::new(Notify::new()))
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

/// Ended in peace it goes on where it was; killed, or with other names, with a serial that nobody has seen.
#[test]
fn serials_go_on_or_forward() {
    let dir = dir();
    let places = places(dir.path());
    let mut store = open_at(&places, &zones(1)).unwrap();
    let first = serials(&store);
    register(&mut store, 0, "a");
    assert_eq!(serials(&store), [first[0] + 1, first[1]]);
    store.close();
    drop(store);
    let mut store = open_at(&places, &zones(1)).unwrap();
    assert_eq!(serials(&store), [first[0] + 1, first[1]], "ended in peace");
    assert!(has(&store, "a.internal"));
    register(&mut store, 1, "b");
    drop(store);
    let mut killed = open_at(&places, &zones(1)).unwrap();
    assert!(serials(&killed).iter().all(|s| *s > first[0] + 1), "killed");
    let before = serials(&killed);
    killed.close();
    drop(killed);
    let other = open_at(&places, &zones(2)).unwrap();
    assert!(serials(&other)[0] > before[0], "other names");
}

/// The data of last night come back while the mark stays: nobody gets a serial that they may have seen with other records.
#[test]
fn a_restore_goes_forward_in_every_zone() {
    for peaceful in [true, false] {
        for zone in [0, 1] {
            let dir = dir();
            let places = places(dir.path());
            let data = dir.path().join("data/names.journal");
            let mut store = open_at(&places, &zones(1)).unwrap();
            // So that the zones stand at different serials, and the mark exactly at the higher one.
            register(&mut store, 0, "a");
            store.close();
            drop(store);
            let snapshot = fs::read(&data).unwrap();
            let mut store = open_at(&places, &zones(1)).unwrap();
            register(&mut store, zone, "later");
            let seen = serials(&store);
            if peaceful {
                store.close();
            }
            drop(store);
            fs::write(&data, snapshot).unwrap();
            let store = open_at(&places, &zones(1)).unwrap();
            let name = ["later.internal", "later.0.168.192.in-addr.arpa"][zone];
            assert!(!has(&store, name), "it was restored");
            let now = serials(&store);
            assert!(now.iter().zip(&seen).all(|(now, seen)| now > seen), "zone {zone}: {seen:?} then {now:?}");
        }
    }
}

/// The clock was a year ahead when the serials were given.
#[test]
fn a_clock_set_back_does_not_set_serials_back() {
    let dir = dir();
    let places = places(dir.path());
    let ahead = unix() as u32 + 365 * 86_400;
    fs::write(dir.path().join("state/serial"), format!("{ahead}\n")).unwrap();
    let store = open_at(&places, &zones(1)).unwrap();
    let given = serials(&store);
    assert!(given[0] > ahead);
    drop(store);
    // Without the mark, the journal knows.
    fs::remove_file(dir.path().join("state/serial")).unwrap();
    let store = open_at(&places, &zones(2)).unwrap();
    assert!(serials(&store)[0] > given[0]);
    drop(store);
    // A damaged mark is not a missing one: serials could be given a second time.
    for file in ["state/serial", "data/names.journal"] {
        fs::write(dir.path().join(file), "garbage").unwrap();
    }
    let refused = open_at(&places, &zones(2)).err().unwrap();
    assert!(
        refused.message.contains("state/serial` does not contain a serial") && !refused.hints.is_empty(),
        "{refused:?}"
    );
    // Without either, nothing is known, and the time is all there is.
    fs::remove_file(dir.path().join("state/serial")).unwrap();
    let store = open_at(&places, &zones(2)).unwrap();
    assert!(serials(&store)[0] < ahead);
}

/// The mark is written ahead, and never again where it needs not be.
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
    assert!(read() > first + 1, "any change says that it is no longer settled");
}

/// The network of a reverse zone is written otherwise: what was registered in it is still there after the next start.
#[test]
fn names_stay_where_their_zone_is_cut_otherwise() {
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
