//! Tests of leases, and of names that the workspace takes over. They pass the time as an argument and do not wait.

use std::sync::mpsc::channel;

use super::{Store, directories, fs, has, open_at, unix, zones};
use crate::{
    keys::{KeyEntry, KeyFile},
    server::{
        keyring::Keyring,
        load,
        store::Update,
        tests::packet::{A, ANY, Key, Update as UpdateMessage},
        tsig, update, wire,
        zones::Zones,
    },
};

const SECRET: [u8; 32] = [b'k'; 32];
const NAME: &str = "anna.pc.internal";

fn keys() -> Keyring {
    let entry = |name: &str, expire| KeyEntry {
        name: name.into(),
        algorithm: "hmac-sha256".into(),
        secret: "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=".into(),
        update: vec!["*.internal".into()],
        transfer: false,
        expire,
    };
    Keyring::new(&KeyFile { keys: vec![entry("short", Some(100)), entry("ever", None)] }).unwrap()
}

/// Sends these updates to the store as one batch. Returns the response codes.
fn send(store: &mut Store, all: &[(&str, UpdateMessage)]) -> Vec<u16> {
    let (keys, (codes, received)) = (keys(), channel());
    let updates = all.iter().map(|(key, asked)| {
        let (bytes, _) = Key::new(key, "hmac-sha256", &SECRET).sign(&asked.bytes());
        let signed = tsig::verify(&bytes, wire::signature(&bytes).unwrap().unwrap(), &keys, unix()).unwrap();
        let codes = codes.clone();
        let answer = Box::new(move |code, _| codes.send(code).unwrap());
        Update { request: update::read(&bytes).unwrap(), signed, client: [127, 0, 0, 1].into(), answer }
    });
    let updates = updates.collect();
    store.update(updates);
    drop(codes);
    received.iter().collect()
}

fn add() -> UpdateMessage {
    UpdateMessage::of("internal").add(NAME, A, 60, &[10, 0, 0, 1])
}

/// Returns a time after the end of a lease that starts now.
fn after() -> u64 {
    unix() + 101
}

#[test]
fn a_registration_without_renewal_ends() {
    let dir = super::dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    let now = unix();
    assert_eq!(send(&mut store, &[("short", add()), ("short", add())]), [0, 0]);
    let serial = super::serials(&store)[0];
    store.expire(now + 99);
    assert!(has(&store, NAME));
    drop(store);
    let mut store = open_at(&directories, &zones(1)).unwrap();
    store.expire(now + 99);
    assert!(has(&store, NAME), "a restart does not end a lease");
    store.expire(after());
    assert!(!has(&store, NAME) && !has(&store, "pc.internal"), "no empty name remains");
    assert!(super::serials(&store)[0] > serial, "secondaries notice it");
    drop(store);
    let store = open_at(&directories, &zones(1)).unwrap();
    assert!(!has(&store, NAME), "it does not return");
}

#[test]
fn a_renewal_keeps_the_name_and_the_serial() {
    let dir = super::dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    send(&mut store, &[("short", add())]);
    let (serial, first) = (super::serials(&store), store.leases.next().unwrap());
    // A renewal within the same second has the same end.
    while store.leases.next() == Some(first) {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(send(&mut store, &[("short", add())]), [0]);
    }
    assert_eq!(super::serials(&store), serial, "no transfer is necessary");
    drop(store);
    let mut store = open_at(&directories, &zones(1)).unwrap();
    store.expire(first);
    assert!(has(&store, NAME), "the renewal is in the journal");
    store.expire(after());
    assert!(!has(&store, NAME));
}

/// The later update counts, whether both are in one batch or not, and after a restart too.
#[test]
fn a_key_without_expiry_removes_the_lease() {
    for (order, stays) in [(["short", "ever"], true), (["ever", "short"], false)] {
        for together in [true, false] {
            let dir = super::dir();
            let directories = directories(dir.path());
            let mut store = open_at(&directories, &zones(1)).unwrap();
            let both = order.map(|key| (key, add()));
            if together {
                send(&mut store, &both);
            } else {
                both.into_iter().for_each(|one| assert_eq!(send(&mut store, &[one]), [0]));
            }
            drop(store);
            let mut store = open_at(&directories, &zones(1)).unwrap();
            store.expire(after());
            assert_eq!(has(&store, NAME), stays, "{order:?}, together: {together}");
        }
    }
}

/// A record that is removed and registered again does not keep its old lease.
#[test]
fn a_lease_ends_with_its_record() {
    let dir = super::dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    send(&mut store, &[("short", add())]);
    send(&mut store, &[("ever", UpdateMessage::of("internal").remove_all(NAME, ANY))]);
    assert_eq!(store.leases.next(), None);
    send(&mut store, &[("ever", add())]);
    for _ in 0..2 {
        store.expire(after());
        assert!(has(&store, NAME));
        drop(store);
        store = open_at(&directories, &zones(1)).unwrap();
    }
}

fn answered(store: &Store) -> Vec<Vec<u8>> {
    let zones = store.zones.read().unwrap();
    let node = zones.node(&wire::name(NAME).unwrap());
    node.map_or(vec![], |n| n.records().of(A).map(|r| r.data().to_vec()).collect())
}

fn with_static() -> Zones {
    let names = crate::names::Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some([192, 168, 0, 10].into()),
        hosts: vec![(format!("{NAME}."), [192, 168, 0, 9].into())],
        ..Default::default()
    };
    load::zones(&names, 1).unwrap()
}

/// A name of the workspace hides a registered one, and cannot be updated. When the workspace removes it, the registered
/// one is served again.
#[test]
fn a_name_of_the_workspace_hides_a_registered_one() {
    let dir = super::dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    send(&mut store, &[("ever", add())]);
    store.reload(with_static());
    assert_eq!(answered(&store), [[192, 168, 0, 9]]);
    assert_eq!(send(&mut store, &[("ever", UpdateMessage::of("internal").remove_all(NAME, ANY))]), [5]);
    let serial = super::serials(&store)[0];
    drop(store);
    let mut store = open_at(&directories, &with_static()).unwrap();
    assert_eq!(answered(&store), [[192, 168, 0, 9]], "also after a restart");
    store.reload(zones(1));
    assert_eq!(answered(&store), [[10, 0, 0, 1]]);
    assert!(super::serials(&store)[0] > serial);
}

/// The lease ends while the workspace has the name. Then nothing is restored, and the workspace's record remains.
#[test]
fn a_lease_may_end_while_it_is_hidden() {
    let dir = super::dir();
    let directories = directories(dir.path());
    let mut store = open_at(&directories, &zones(1)).unwrap();
    send(&mut store, &[("short", add())]);
    store.reload(with_static());
    store.expire(after());
    assert_eq!(answered(&store), [[192, 168, 0, 9]]);
    store.reload(zones(1));
    assert_eq!(answered(&store), Vec::<Vec<u8>>::new());
}

/// A zone that was removed and added again has a higher serial than before.
#[test]
fn a_zone_that_is_added_again_has_a_higher_serial() {
    let dir = super::dir();
    let directories = directories(dir.path());
    fs::write(dir.path().join("state/serial"), format!("{}\n", unix() as u32 + 1_000_000)).unwrap();
    let mut store = open_at(&directories, &zones(1)).unwrap();
    let before = super::serials(&store)[1];
    let names = crate::names::Names { zone: "internal.".into(), server: "ns.internal.".into(), ..Default::default() };
    store.reload(load::zones(&names, 1).unwrap());
    assert_eq!(super::serials(&store).len(), 1);
    store.reload(zones(1));
    assert!(super::serials(&store)[1] > before);
}
