//! The start of the store: restores the registered names, and gives every zone a serial that was never used with other
//! records.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use lap_base::{Kind, OrError, Result};
use tokio::sync::Notify;

use super::{
    Frame, Leases, Mark, ReplayCache, Store, StoreDirectories, ZoneJournal, forget, frame, fresh_serial, owners_gone,
    unix,
};
use crate::server::{audit::Audit, zones::Zones};

/// The content of the journal.
#[derive(Default)]
struct Replay {
    /// The last serial of each zone, and the sum of its fixed records at that time.
    known: BTreeMap<Box<[u8]>, (u32, u64)>,
    leases: Leases,
    seen: ReplayCache,
}

impl Replay {
    fn frame(&mut self, zones: &mut Zones, frame: Frame) {
        match frame {
            Frame::Zone { name, serial, fixed } => {
                if let Some(zone) = zones.zone(&name) {
                    zones.set_serial(zone, serial);
                }
                self.known.insert(name, (serial, fixed));
            }
            Frame::Records(records) => zones.register(&records),
            Frame::Change(diff) => {
                let gone = owners_gone(&diff).collect();
                if let Some((serial, _)) = self.known.get_mut(&diff.zone) {
                    *serial = diff.to;
                }
                zones.apply(diff);
                forget(&mut self.leases, zones, gone);
            }
            Frame::Lease { name, rtype, until } => self.leases.set((name, rtype), until),
            Frame::Answered { time, fingerprint, code } => self.seen.insert(time, time, fingerprint, code),
        }
    }
}

impl Store {
    /// Restores the registered records into `zones`, which contain the fixed records. Logs damage of the journal.
    ///
    /// # Errors
    /// A directory cannot be read or written, another server uses it, or the mark is damaged.
    pub fn open(
        directories: &StoreDirectories,
        mut zones: Zones,
        audit: Arc<Audit>,
        changed: Arc<Notify>,
    ) -> Result<Self> {
        let sums = zones.fixed_sums();
        let mut replay = Replay::default();
        let mut journal = None;
        if let Some(directory) = &directories.data {
            let opened = ZoneJournal::open(directory, |frame| replay.frame(&mut zones, frame));
            let (opened, found) =
                opened.or_error(Kind::Host, || format!("cannot use the directory `{}`", directory.display()))?;
            if let Some(damage) = &found.damage {
                audit.say(damage);
            }
            journal = Some(opened);
        }
        let Replay { known, leases, seen } = replay;
        let (mut mark, marked) = Mark::open(directories.state.as_deref())
            .or_error(Kind::Host, || "cannot read the limit for serials".into())
            .map_err(|error| {
                error.hint("remove that file: the next serials follow the journal or, without a journal, the time")
            })?;
        let highest = known.values().map(|(serial, _)| *serial).max().unwrap_or(0);
        // A server that ended normally leaves this mark. Then no serial beyond the journal was used.
        let settled = journal.is_some() && marked == Some(highest);
        let now = unix();
        let mut frames = Vec::new();
        for (zone, sum) in sums.iter().enumerate() {
            let name = zones.apexes()[zone].name.clone();
            match known.get(&name) {
                Some((_, fixed)) if settled && fixed == sum => {}
                _ => {
                    let serial = fresh_serial(highest, marked.unwrap_or(0), now);
                    zones.set_serial(zone, serial);
                    frame::write(&mut frames, &Frame::Zone { name, serial, fixed: *sum });
                }
            }
        }
        // If the disk is full, the server still answers for its names. It refuses updates until there is space.
        let kept = |result: std::io::Result<()>| {
            if let Err(e) = result {
                audit.say(&format!("cannot write the journal: {e}; the names are served"));
            }
        };
        if !frames.is_empty() {
            let reserved = mark.reserve(zones.highest_serial());
            let journal = journal.as_mut().filter(|journal| !journal.is_doubtful());
            kept(reserved.and_then(|()| journal.map_or(Ok(()), |journal| journal.append(&frames))));
        }
        let fixed = zones.apexes().iter().map(|apex| apex.name.clone()).zip(sums).collect();
        let zones = Arc::new(RwLock::new(zones));
        let mut store = Self { zones, changed, audit: audit.clone(), journal, mark, leases, seen, fixed };
        if store.journal.as_ref().is_some_and(ZoneJournal::wants_rewriting) {
            kept(store.rewrite());
        }
        Ok(store)
    }

    /// Returns the served zones.
    pub fn zones(&self) -> Arc<RwLock<Zones>> {
        self.zones.clone()
    }
}
