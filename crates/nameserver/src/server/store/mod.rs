//! Everything that changes a zone goes through here, one after the other: updates, registrations that end, a new
//! `names.json`. A change is on the disk before anybody is told, and only then in the zones that are answered from.

mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod journal;
mod leases;
mod mark;
mod open;
mod seen;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use self::{
    frame::Frame,
    journal::ZoneJournal,
    leases::{Leases, Owner},
    mark::Mark,
    seen::{ReplayCache, SeenBefore},
};
use super::{
    audit::Audit,
    tsig::Signed,
    update::{self, Pending, UpdateRequest, View},
    wire::{self, rcode},
    zones::{Diff, Layer, NotAdded, Zones, whole_records},
};

/// Updates that share one write to the disk.
const BATCH: usize = 256;
/// How long it waits for work at most before it looks at the clock again.
const NAP: Duration = Duration::from_secs(60);

/// Seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Work for the store.
pub enum StoreJob {
    Update(Update),
    /// The zones of a new `names.json`, still without what is registered.
    Reload(Box<Zones>),
    Stop,
}

/// An update whose signature is right.
pub struct Update {
    pub request: UpdateRequest,
    pub signed: Signed,
    pub client: IpAddr,
    /// Is given the code of the reply once it holds.
    pub answer: Box<dyn FnOnce(u16, Signed) + Send>,
}

/// Where it keeps things.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The journal; `None`: nothing can be registered.
    pub data: Option<PathBuf>,
    /// The mark.
    pub state: Option<PathBuf>,
}

/// The one writer of the zones.
pub struct Store {
    zones: Arc<RwLock<Zones>>,
    /// Wakes whoever tells the secondaries.
    changed: Arc<Notify>,
    audit: Arc<Audit>,
    journal: Option<ZoneJournal>,
    mark: Mark,
    leases: Leases,
    seen: ReplayCache,
    /// What the fixed records of each zone were when it got its serial.
    fixed: BTreeMap<Box<[u8]>, u64>,
}

/// What one batch of updates comes to, before it is written.
#[derive(Default)]
struct Batch {
    pending: Pending,
    diffs: Vec<Diff>,
    serials: BTreeMap<Box<[u8]>, u32>,
    leases: BTreeMap<Owner, u64>,
    frames: Vec<u8>,
    answers: Vec<(Update, u16)>,
    /// Positions in `answers` of those that hold only once the frames are written, with when and how they were signed.
    fresh: BTreeMap<u64, usize>,
    /// Positions of updates that came twice in this batch, with that of the first.
    twins: Vec<(usize, usize)>,
}

impl Batch {
    /// A serial above those of all zones: none is given twice, so the highest one tells which changes a journal has.
    fn next_serial(&self, zones: &Zones) -> u32 {
        next_serial(self.serials.values().copied().fold(zones.highest_serial(), u32::max))
    }
}

impl Store {
    /// Works until [`StoreJob::Stop`], or until nobody can send any more.
    pub fn run(mut self, jobs: &Receiver<StoreJob>) {
        loop {
            let now = unix();
            self.expire(now);
            let wait = self.leases.next().map_or(NAP, |until| Duration::from_secs(until.saturating_sub(now).max(1)));
            let mut job = match jobs.recv_timeout(wait.min(NAP)) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut updates = Vec::new();
            while let Some(next) = job.take() {
                match next {
                    StoreJob::Update(update) => updates.push(update),
                    StoreJob::Reload(zones) => {
                        self.update(std::mem::take(&mut updates));
                        self.reload(*zones);
                    }
                    StoreJob::Stop => {
                        self.update(updates);
                        self.close();
                        return;
                    }
                }
                if updates.len() < BATCH {
                    job = jobs.try_recv().ok();
                }
            }
            self.update(updates);
        }
        self.close();
    }

    fn close(&mut self) {
        let highest = self.zones.read().unwrap_or_else(PoisonError::into_inner).highest_serial();
        if let Err(e) = self.mark.settle(highest) {
            self.audit.say(&format!("cannot write the limit for serials: {e}; the next start uses a new serial"));
        }
    }

    fn update(&mut self, updates: Vec<Update>) {
        if updates.is_empty() {
            return;
        }
        let now = unix();
        let mut batch = Batch::default();
        {
            let zones = self.zones.clone();
            let zones = zones.read().unwrap_or_else(PoisonError::into_inner);
            updates.into_iter().for_each(|update| self.decide(&zones, update, &mut batch, now));
        }
        let written = self.write(&batch);
        let Batch { diffs, leases, mut answers, fresh, twins, .. } = batch;
        match written {
            Ok(()) => {
                let changed = !diffs.is_empty();
                self.apply(diffs, leases);
                for (fingerprint, index) in fresh {
                    self.seen.insert(now, answers[index].0.signed.time, fingerprint, answers[index].1);
                }
                if changed {
                    self.changed.notify_one();
                }
            }
            Err(e) => {
                self.audit.say(&format!("cannot write the journal: {e}; nothing was changed"));
                fresh.into_values().for_each(|index| answers[index].1 = rcode::SERVFAIL);
            }
        }
        for (twin, first) in twins {
            answers[twin].1 = answers[first].1;
        }
        for (update, code) in answers {
            (update.answer)(code, update.signed);
        }
    }

    /// Decides one update with regard to those of the batch before it.
    fn decide(&self, zones: &Zones, update: Update, batch: &mut Batch, now: u64) {
        let Update { request, signed, client, .. } = &update;
        let (time, fingerprint) = (signed.time, signed.fingerprint);
        let key = wire::text(&signed.key.name);
        if let Some(first) = batch.fresh.get(&fingerprint) {
            // It gets what the first one gets, which is known only when that is written.
            batch.twins.push((batch.answers.len(), *first));
            batch.answers.push((update, rcode::SERVFAIL));
            return;
        }
        let code = match self.seen.find(time, fingerprint) {
            SeenBefore::Answered(code) => {
                self.audit.refused(*client, &format!("an update with key `{key}` was repeated: nothing was changed"));
                batch.answers.push((update, code));
                return;
            }
            SeenBefore::Forgotten => {
                self.audit.refused(*client, &format!("an update with key `{key}` may be a repetition"));
                batch.answers.push((update, rcode::NOTAUTH));
                return;
            }
            SeenBefore::New if self.journal.is_none() => {
                self.audit.refused(*client, "an update: this server has no directory to store it (`--data`)");
                batch.answers.push((update, rcode::REFUSED));
                return;
            }
            SeenBefore::New => match update::resolve(&View { zones, pending: &batch.pending }, request, &signed.key) {
                Ok(outcome) => {
                    if !outcome.is_empty() {
                        let zone = &request.zone;
                        let current = || zones.zone(zone).map_or(0, |z| zones.apexes()[z].serial());
                        let from = batch.serials.get(zone).copied().unwrap_or_else(current);
                        let to = batch.next_serial(zones);
                        batch.serials.insert(zone.clone(), to);
                        let diff = Diff { zone: zone.clone(), from, to, gone: outcome.gone, new: outcome.new };
                        self.audit.changed(*client, &key, &diff);
                        frame::write(&mut batch.frames, &Frame::Change(diff.clone()));
                        batch.diffs.push(diff);
                    }
                    let until = signed.key.expire.map_or(0, |seconds| now + u64::from(seconds));
                    for owner in outcome.registered {
                        let before = batch.leases.get(&owner).copied().or_else(|| self.leases.get(&owner));
                        if before.unwrap_or(0) != until {
                            let (name, rtype) = owner.clone();
                            frame::write(&mut batch.frames, &Frame::Lease { name, rtype, until });
                        }
                        batch.leases.insert(owner, until);
                    }
                    batch.pending.extend(outcome.names);
                    rcode::NOERROR
                }
                Err((code, why)) => {
                    self.audit.refused(*client, &format!("an update with key `{key}`: {why}"));
                    code
                }
            },
        };
        frame::write(&mut batch.frames, &Frame::Answered { time, fingerprint, code });
        batch.fresh.insert(fingerprint, batch.answers.len());
        batch.answers.push((update, code));
    }

    fn write(&mut self, batch: &Batch) -> std::io::Result<()> {
        if batch.frames.is_empty() {
            return Ok(());
        }
        if let Some(highest) = batch.serials.values().max() {
            self.mark.reserve(*highest)?;
        }
        if self.journal.as_ref().is_some_and(ZoneJournal::wants_rewriting)
            && let Err(e) = self.rewrite()
        {
            match &mut self.journal {
                Some(journal) if !journal.is_doubtful() => journal.postpone_rewriting(),
                _ => return Err(e),
            }
        }
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(&batch.frames))
    }

    /// Brings what is written into the zones.
    fn apply(&mut self, diffs: Vec<Diff>, leases: BTreeMap<Owner, u64>) {
        let mut zones = self.zones.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Owner> = diffs.iter().flat_map(owners_gone).collect();
        diffs.into_iter().for_each(|diff| zones.apply(diff));
        leases.into_iter().for_each(|(owner, until)| self.leases.set(owner, until));
        forget(&mut self.leases, &zones, gone);
    }

    /// Removes what was not renewed.
    fn expire(&mut self, now: u64) {
        let ended = self.leases.ended(now);
        if ended.is_empty() || self.journal.is_none() {
            return;
        }
        let mut batch = Batch::default();
        {
            let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
            let mut gone: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
            for (name, rtype) in &ended {
                let Some(node) = zones.node(name) else { continue };
                for record in node.layer(Layer::Registered).of(*rtype) {
                    let gone = gone.entry(node.zone()).or_default();
                    gone.extend_from_slice(name);
                    gone.extend_from_slice(record.bytes());
                }
            }
            for (zone, gone) in gone {
                let apex = &zones.apexes()[zone];
                let (from, zone) = (apex.serial(), apex.name.clone());
                let to = batch.next_serial(&zones);
                let diff = Diff { to, zone: zone.clone(), from, gone, new: Vec::new() };
                batch.serials.insert(zone, diff.to);
                frame::write(&mut batch.frames, &Frame::Change(diff.clone()));
                batch.diffs.push(diff);
            }
        }
        if let Err(e) = self.write(&batch) {
            self.audit.say(&format!("cannot write the journal: {e}; expired names stay for now"));
            return;
        }
        for (name, rtype) in ended {
            let (owner, rtype_text) = (wire::text(&name), wire::type_text(rtype));
            self.audit.say(&format!("`{owner}` {rtype_text} was not renewed and was removed"));
            self.leases.remove(&(name, rtype));
        }
        self.apply(batch.diffs, BTreeMap::new());
        self.changed.notify_one();
    }

    /// Puts the zones of a new `names.json` in the place of the present ones, with what is registered in them.
    fn reload(&mut self, mut new: Zones) {
        let now = unix();
        let fixed = new.fixed_sums();
        let mut frames = Vec::new();
        let mut kept = Vec::new();
        {
            let old = self.zones.read().unwrap_or_else(PoisonError::into_inner);
            let mut homeless: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
            for (name, records) in old.registered() {
                if let Err(NotAdded::Outside | NotAdded::Full) = new.set(name, Layer::Registered, records.0) {
                    let zone = old.node(name).map_or(0, |n| n.zone());
                    for record in records {
                        homeless.entry(zone).or_default().extend([name, record.bytes()].concat());
                    }
                    self.audit.say(&format!("`{}` is no longer in a zone and was removed", wire::text(name)));
                }
            }
            for (zone, gone) in homeless {
                let apex = &old.apexes()[zone];
                let (zone, serial) = (apex.name.clone(), apex.serial());
                let diff = Diff { zone, from: serial, to: serial, gone, new: Vec::new() };
                owners_gone(&diff).for_each(|owner| self.leases.remove(&owner));
                frame::write(&mut frames, &Frame::Change(diff));
            }
            for (zone, sum) in fixed.iter().enumerate() {
                let name = new.apexes()[zone].name.clone();
                let before = old.zone(&name).map(|z| (z, old.apexes()[z].serial()));
                let serial = match before {
                    Some((z, serial)) if self.fixed.get(&name) == Some(sum) => {
                        kept.push((z, zone));
                        serial
                    }
                    _ => {
                        // One that was gone for a while was seen with serials that only the mark still knows.
                        let from = before.map_or_else(|| self.mark.highest(), |_| old.highest_serial());
                        let serial = fresh_serial(from, 0, now);
                        frame::write(&mut frames, &Frame::Zone { name, serial, fixed: *sum });
                        serial
                    }
                };
                new.set_serial(zone, serial);
            }
        }
        let reserved = self.mark.reserve(new.highest_serial());
        let journal = self.journal.as_mut();
        let written = reserved.and_then(|()| journal.map_or(Ok(()), |journal| journal.append(&frames)));
        if let Err(e) = written {
            // The names of the workspace are served all the same: a full disk is no reason to lose them.
            self.audit.say(&format!("cannot write the journal: {e}; the new names are served"));
        }
        let names = new.apexes().iter().map(|a| a.name.clone());
        self.fixed = names.zip(fixed).collect();
        let mut zones = self.zones.write().unwrap_or_else(PoisonError::into_inner);
        for (from, to) in kept {
            new.take_history(to, &mut zones, from);
        }
        let old = std::mem::replace(&mut *zones, new);
        drop(zones);
        // Not under the lock: a big zone takes a while to be taken apart.
        drop(old);
        self.changed.notify_one();
    }

    fn rewrite(&mut self) -> std::io::Result<()> {
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        let zone_frames = zones.apexes().iter().map(|apex| Frame::Zone {
            name: apex.name.clone(),
            serial: apex.serial(),
            fixed: self.fixed.get(&apex.name).copied().unwrap_or(0),
        });
        let record_frames = zones
            .registered()
            .map(|(name, records)| Frame::Records(records.flat_map(|r| [name, r.bytes()].concat()).collect()));
        let lease_frames =
            self.leases.iter().map(|((name, rtype), until)| Frame::Lease { name: name.clone(), rtype: *rtype, until });
        let answered =
            self.seen.iter(unix()).map(|(time, fingerprint, code)| Frame::Answered { time, fingerprint, code });
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.rewrite(zone_frames.chain(record_frames).chain(lease_frames).chain(answered))
    }
}

/// The serial after `from` (RFC 1982): never 0, which some programs take for "none".
fn next_serial(from: u32) -> u32 {
    from.wrapping_add(1).max(1)
}

/// A serial for a zone that may have been seen by others with any up to `from` or `mark`: the time, like a person would
/// write it, or the next one where that is behind.
fn fresh_serial(from: u32, mark: u32, now: u64) -> u32 {
    next_serial(from.max(mark)).max(now as u32)
}

fn owners_gone(diff: &Diff) -> impl Iterator<Item = Owner> {
    whole_records(&diff.gone).map(|(name, record)| (name.into(), record.rtype()))
}

/// Forgets the leases of what is no longer registered.
fn forget(leases: &mut Leases, zones: &Zones, owners: Vec<Owner>) {
    for owner in owners {
        if !zones.node(&owner.0).is_some_and(|node| node.layer(Layer::Registered).has(owner.1)) {
            leases.remove(&owner);
        }
    }
}
