//! The only writer of the zones. Updates, ended leases and a new `names.json` all pass through it, one after the other.
//! A change is written to the disk first, then to the served zones, and then the reply is sent.

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

/// The maximum number of updates that share one write to the disk.
const BATCH: usize = 256;
/// The maximum waiting time, so that a change of the system clock is noticed.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Returns the current time in seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A job for the store.
pub enum StoreJob {
    Update(Update),
    /// The zones of a new `names.json`, without registered records.
    Reload(Box<Zones>),
    Stop,
}

/// An update with a valid signature.
pub struct Update {
    pub request: UpdateRequest,
    pub signed: Signed,
    pub client: IpAddr,
    /// Receives the response code when the change is on the disk.
    pub answer: Box<dyn FnOnce(u16, Signed) + Send>,
}

/// The directories of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreDirectories {
    /// The directory of the journal. `None` means that every update is refused.
    pub data: Option<PathBuf>,
    /// The directory of the mark. `None` means that the mark is kept in memory only.
    pub state: Option<PathBuf>,
}

/// The only writer of the zones.
pub struct Store {
    zones: Arc<RwLock<Zones>>,
    /// Wakes the task that notifies the secondaries.
    changed: Arc<Notify>,
    audit: Arc<Audit>,
    journal: Option<ZoneJournal>,
    mark: Mark,
    leases: Leases,
    seen: ReplayCache,
    /// The sum of each zone's fixed records when the zone got its serial.
    fixed: BTreeMap<Box<[u8]>, u64>,
}

/// The changes of one batch of updates, before they are written.
#[derive(Default)]
struct Batch {
    pending: Pending,
    diffs: Vec<Diff>,
    serials: BTreeMap<Box<[u8]>, u32>,
    leases: BTreeMap<Owner, u64>,
    frames: Vec<u8>,
    answers: Vec<(Update, u16)>,
    /// The positions in `answers` of updates that become valid when the frames are written. The key is the fingerprint
    /// of the signature.
    fresh: BTreeMap<u64, usize>,
    /// The positions of updates that are repetitions inside this batch, each with the position of the first one.
    repetitions: Vec<(usize, usize)>,
}

impl Batch {
    /// Returns a serial above those of all zones. No serial is used in two zones, so the highest one shows which
    /// changes a journal contains.
    fn next_serial(&self, zones: &Zones) -> u32 {
        next_serial(self.serials.values().copied().fold(zones.highest_serial(), u32::max))
    }
}

impl Store {
    /// Executes jobs until [`StoreJob::Stop`], or until all senders are dropped.
    pub fn run(mut self, jobs: &Receiver<StoreJob>) {
        loop {
            let now = unix();
            self.expire(now);
            let wait =
                self.leases.next().map_or(MAX_WAIT, |until| Duration::from_secs(until.saturating_sub(now).max(1)));
            let mut job = match jobs.recv_timeout(wait.min(MAX_WAIT)) {
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
        let Batch { diffs, leases, mut answers, fresh, repetitions, .. } = batch;
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
        for (repetition, first) in repetitions {
            answers[repetition].1 = answers[first].1;
        }
        for (update, code) in answers {
            (update.answer)(code, update.signed);
        }
    }

    /// Decides one update, in the state after the earlier updates of the batch.
    fn decide(&self, zones: &Zones, update: Update, batch: &mut Batch, now: u64) {
        let Update { request, signed, client, .. } = &update;
        let (time, fingerprint) = (signed.time, signed.fingerprint);
        let key = wire::text(&signed.key.name);
        if let Some(first) = batch.fresh.get(&fingerprint) {
            // A repetition gets the response code of the first one, which is known only after the write.
            batch.repetitions.push((batch.answers.len(), *first));
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

    /// Applies written changes to the zones.
    fn apply(&mut self, diffs: Vec<Diff>, leases: BTreeMap<Owner, u64>) {
        let mut zones = self.zones.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Owner> = diffs.iter().flat_map(owners_gone).collect();
        diffs.into_iter().for_each(|diff| zones.apply(diff));
        leases.into_iter().for_each(|(owner, until)| self.leases.set(owner, until));
        forget(&mut self.leases, &zones, gone);
    }

    /// Removes the registrations whose leases have ended.
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

    /// Replaces the zones by those of a new `names.json`, and keeps the registered records.
    fn reload(&mut self, mut new: Zones) {
        let now = unix();
        let fixed = new.fixed_sums();
        let mut frames = Vec::new();
        let mut kept = Vec::new();
        {
            let old = self.zones.read().unwrap_or_else(PoisonError::into_inner);
            let mut outside: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
            for (name, records) in old.registered() {
                if let Err(NotAdded::Outside | NotAdded::Full) = new.set(name, Layer::Registered, records.0) {
                    let zone = old.node(name).map_or(0, |n| n.zone());
                    for record in records {
                        outside.entry(zone).or_default().extend([name, record.bytes()].concat());
                    }
                    self.audit.say(&format!("`{}` is no longer in a zone and was removed", wire::text(name)));
                }
            }
            for (zone, gone) in outside {
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
                        // A zone that was removed and is added again may have had serials that only the mark covers.
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
            // The names of the workspace are served even if the disk is full.
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
        // The old zones are freed outside the lock, because freeing a large zone takes time.
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

/// Returns the serial after `from` (RFC 1982). It skips 0, because some programs treat 0 as "none".
fn next_serial(from: u32) -> u32 {
    from.wrapping_add(1).max(1)
}

/// Returns a serial for a zone that may have been served with any serial up to `from` or `mark`: the current time, or
/// the next serial if that is higher.
fn fresh_serial(from: u32, mark: u32, now: u64) -> u32 {
    next_serial(from.max(mark)).max(now as u32)
}

fn owners_gone(diff: &Diff) -> impl Iterator<Item = Owner> {
    whole_records(&diff.gone).map(|(name, record)| (name.into(), record.rtype()))
}

/// Removes the leases of records that are no longer registered.
fn forget(leases: &mut Leases, zones: &Zones, owners: Vec<Owner>) {
    for owner in owners {
        if !zones.node(&owner.0).is_some_and(|node| node.layer(Layer::Registered).has(owner.1)) {
            leases.remove(&owner);
        }
    }
}
