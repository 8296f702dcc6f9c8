//! The functions that the fuzz targets in `fuzz/` call. On a stable compiler, a test calls them too, with its own
//! mutator.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
};

use hickory_server::proto::op::Message;
use tokio::sync::Notify;

use super::{
    access::Networks,
    audit::Audit,
    handle::{Disposition, RequestContext, handle},
    keyring::Keyring,
    load,
    reply::Transport,
    store::{self, Store, StoreDirectories, unix},
    transfer,
    tsig::Signer,
    update::{self, Pending, View},
    wire,
    zones::{Layer, Zones},
};
use crate::{
    keys::{KeyEntry, KeyFile},
    names::Names,
};

struct World {
    zones: Zones,
    keys: Keyring,
    clients: Networks,
    audit: Audit,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut zones = zones();
    for name in ["a.pc.internal", "*.wild.internal", "x.y.z.internal"] {
        let name = wire::name(name).expect("it is a name");
        let mut records = Vec::new();
        super::zones::write(&mut records, wire::rtype::A, 60, &[10, 0, 0, 1]);
        let _ = zones.set(&name, Layer::Registered, &records);
    }
    let key = KeyEntry {
        name: "k".into(),
        algorithm: "hmac-sha256".into(),
        secret: "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=".into(),
        update: vec!["*.internal".into()],
        transfer: true,
        expire: None,
    };
    let keys = Keyring::new(&KeyFile { keys: vec![key] }).expect("it is a key");
    World { zones, keys, clients: Networks::private(), audit: Audit::default() }
});

fn zones() -> Zones {
    let names = Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some([10, 0, 0, 1].into()),
        hosts: vec![("git.internal.".into(), [10, 0, 0, 1].into())],
        ..Names::default()
    };
    load::zones(&names, 1).expect("they are zones")
}

/// Handles a message. The bits of the first byte select the transport, whether the message is signed first, and whether
/// there are upstream servers. A signed message tests the code behind the signature check.
///
/// # Panics
/// There is a bug: hickory cannot parse the reply, or the reply does not belong to the message.
pub fn packet(data: &[u8]) {
    let world = &*WORLD;
    let Some((how, message)) = data.split_first() else { return };
    let transport = if how & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let mut message = message.to_vec();
    if how & 2 != 0 && message.len() >= wire::HEADER && message.len() < 60_000 {
        let Some(key) = wire::expand(b"\x01k\x00", 0).and_then(|(name, _)| world.keys.get(&name)) else { return };
        let (high, low) = (message[10], message[11]);
        if u16::from_be_bytes([high, low]) == u16::MAX {
            return;
        }
        Signer::request(key.clone()).sign(&mut message, unix());
    }
    let rules = RequestContext {
        zones: &world.zones,
        keys: &world.keys,
        clients: &world.clients,
        recursion: how & 4 != 0,
        audit: &world.audit,
    };
    let mut out = Vec::new();
    match handle(rules, &message, [127, 0, 0, 1].into(), transport, &mut out) {
        Disposition::Drop => return,
        Disposition::Reply | Disposition::Forward(..) => {}
        Disposition::Update(request, signed) => {
            let pending = Pending::default();
            let view = View { zones: &world.zones, pending: &pending };
            if let Ok(outcome) = update::resolve(&view, &request, &signed.key) {
                assert!(outcome.names.keys().all(|name| wire::skip_name(name, 0) == Some(name.len())));
            }
        }
        Disposition::Transfer(transfer) => {
            for part in transfer::parts(&world.zones, &transfer).into_iter().flatten() {
                assert!(Message::from_vec(&part).is_ok(), "{part:02x?}");
            }
        }
    }
    assert!(out.len() >= wire::HEADER && out[2] & 0x80 != 0 && out[..2] == message[..2], "{out:02x?}");
    assert!(Message::from_vec(&out).is_ok(), "{message:02x?} → {out:02x?}");
}

/// Opens a journal with the content `data` in an empty directory. If the first bit of the first byte is set, `data` is
/// a list of frame bodies, each after its length, and the frames get correct checksums. If the second bit is set,
/// correct frames precede `data`.
///
/// # Panics
/// There is a bug: a correct record is lost, or the journal cannot be opened a second time.
pub fn journal(directory: &Path, data: &[u8]) {
    let Some((how, mut rest)) = data.split_first() else { return };
    let mut file = store::fuzzing::MAGIC.to_vec();
    let good = wire::name("good.pc.internal").expect("it is a name");
    if how & 2 != 0 {
        let mut record = good.to_vec();
        super::zones::write(&mut record, wire::rtype::A, 60, &[10, 0, 0, 9]);
        store::fuzzing::records(&mut file, record);
    }
    if how & 1 != 0 {
        while let Some((length, after)) = rest.split_first() {
            let (body, after) = after.split_at(usize::from(*length).min(after.len()));
            store::fuzzing::frame(&mut file, body);
            rest = after;
        }
    } else {
        file.extend_from_slice(rest);
    }
    if std::fs::write(directory.join("names.journal"), file).is_err() {
        return;
    }
    let directories = StoreDirectories { data: Some(directory.into()), state: None };
    let mut before: Option<BTreeMap<Vec<u8>, Vec<u8>>> = None;
    for _ in 0..2 {
        let opened = Store::open(&directories, zones(), Arc::new(Audit::default()), Arc::new(Notify::new()));
        let store = opened.expect("a journal that is damaged opens all the same");
        let zones = store.zones();
        let zones = zones.read().expect("nobody panicked");
        let all: BTreeMap<_, _> =
            zones.registered().map(|(name, records)| (name.to_vec(), records.0.to_vec())).collect();
        // Frame bodies with correct checksums may remove the record.
        assert!(how & 3 != 2 || all.contains_key(&*good), "the good prefix is lost");
        assert!(before.is_none_or(|before| before == all), "the second start finds something else");
        before = Some(all);
    }
}
