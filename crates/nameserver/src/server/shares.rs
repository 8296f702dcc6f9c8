//! Limits for a resource that all clients share (connections, or questions in progress).
//!
//! No client can use all of it. A client at its own limit gives up its oldest slot for a new one. If all slots are
//! taken, the client with the most slots gives one up. The table has an entry only for clients that have slots, so its
//! size is limited too.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// The number of slots.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub all: usize,
    /// The maximum for one client.
    pub each: usize,
    /// The minimum idle time before another client without more slots may take a slot away.
    pub young: Duration,
}

/// The slots of all clients.
pub struct Shares {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    clients: HashMap<u64, Vec<Slot>>,
    taken: usize,
    next: u64,
}

struct Slot {
    id: u64,
    used: Instant,
    /// The number of operations that must not be interrupted. A busy slot is not taken away.
    busy: usize,
    /// Its drop resolves the [`Evicted`] of the slot.
    _evicted: oneshot::Sender<()>,
}

/// Resolves when the slot was taken away.
pub type Evicted = oneshot::Receiver<()>;

/// One slot. Dropping it frees the slot.
pub struct Share {
    shares: Arc<Shares>,
    client: u64,
    id: u64,
}

impl Shares {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a client. Returns the slot and a receiver that resolves if the slot is taken away. Returns
    /// `None` if no slot can be freed for this client.
    pub fn take(self: &Arc<Self>, client: IpAddr, now: Instant) -> Option<(Share, Evicted)> {
        let client = network(client);
        let mut table = self.table();
        let has = table.clients.get(&client).map_or(0, Vec::len);
        if has >= self.limits.each {
            table.drop_oldest(client, now, self.limits.young)?;
        } else if table.taken >= self.limits.all {
            let from = table.select_giver(client, has, now, self.limits.young)?;
            let young = if from.1 { Duration::ZERO } else { self.limits.young };
            table.drop_oldest(from.0, now, young)?;
        }
        let (gone, receiver) = oneshot::channel();
        let id = table.next;
        table.next += 1;
        table.taken += 1;
        table.clients.entry(client).or_default().push(Slot { id, used: now, busy: 0, _evicted: gone });
        Some((Share { shares: self.clone(), client, id }, receiver))
    }

    /// Returns the number of slots in use and the number of clients that have slots.
    #[cfg(test)]
    pub fn taken(&self) -> (usize, usize) {
        let table = self.table();
        (table.taken, table.clients.len())
    }
}

impl Table {
    /// Takes away the slot of `client` with the longest idle time, if it was idle for at least `young`.
    fn drop_oldest(&mut self, client: u64, now: Instant, young: Duration) -> Option<()> {
        let slots = self.clients.get(&client)?;
        let idle = slots.iter().filter(|slot| slot.is_idle(now, young));
        let id = idle.min_by_key(|slot| slot.used)?.id;
        self.remove(client, id);
        Some(())
    }

    /// Selects the client that gives up a slot to `client`, which has `has` slots. It is the client with the most
    /// slots, if it has at least two more. Otherwise it is the client with the slot that was idle for the longest time.
    /// The flag says whether a young slot may be taken.
    fn select_giver(&self, client: u64, has: usize, now: Instant, young: Duration) -> Option<(u64, bool)> {
        let can = |slots: &[Slot], young| slots.iter().any(|slot| slot.is_idle(now, young));
        let most = self.clients.iter().filter(|(_, slots)| slots.len() > has + 1 && can(slots, Duration::ZERO));
        if let Some((most, _)) = most.max_by_key(|(_, slots)| slots.len()) {
            return Some((*most, true));
        }
        let idle = self.clients.iter().filter(|(other, slots)| **other == client || slots.len() > has);
        let oldest = |slots: &[Slot]| slots.iter().filter(|slot| slot.is_idle(now, young)).map(|slot| slot.used).min();
        let (giver, _) =
            idle.filter_map(|(giver, slots)| Some((*giver, oldest(slots)?))).min_by_key(|(_, used)| *used)?;
        Some((giver, false))
    }

    fn remove(&mut self, client: u64, id: u64) {
        let Some(slots) = self.clients.get_mut(&client) else { return };
        let before = slots.len();
        slots.retain(|slot| slot.id != id);
        self.taken -= before - slots.len();
        if slots.is_empty() {
            self.clients.remove(&client);
        }
    }
}

impl Slot {
    fn is_idle(&self, now: Instant, young: Duration) -> bool {
        self.busy == 0 && now.saturating_duration_since(self.used) >= young
    }
}

impl Share {
    fn slot(&self, act: impl FnOnce(&mut Slot)) {
        let mut table = self.shares.table();
        let slots = table.clients.get_mut(&self.client);
        if let Some(slot) = slots.and_then(|slots| slots.iter_mut().find(|slot| slot.id == self.id)) {
            act(slot);
        }
    }

    /// Records that the slot is in use.
    pub fn touch(&self, now: Instant) {
        self.slot(|slot| slot.used = now);
    }

    /// Starts an operation that must not be interrupted.
    pub fn begin(&self) {
        self.slot(|slot| slot.busy += 1);
    }

    /// Ends the operation.
    pub fn end(&self, now: Instant) {
        self.slot(|slot| {
            slot.busy = slot.busy.saturating_sub(1);
            slot.used = now;
        });
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.table().remove(self.client, self.id);
    }
}

/// Returns the network that one client can use: an address of IPv4, a /64 of IPv6 (RFC 4291, section 2.5.4).
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        // No client address of IPv6 begins with 32 zero bits, except loopback. So it cannot collide with an IPv4
        // address.
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_secs(1);

    fn shares() -> Arc<Shares> {
        Shares::new(Limits { all: 8, each: 6, young: YOUNG })
    }

    fn ip(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[test]
    fn a_client_has_at_most_its_share() {
        let (shares, now) = (shares(), Instant::now());
        let mut held: Vec<_> = (0..10).map_while(|_| shares.take(ip(1), now)).collect();
        assert_eq!((held.len(), shares.taken()), (6, (6, 1)));
        assert!(shares.take(ip(2), now).is_some());
        // Later, its oldest slot is taken for the new one.
        let new = shares.take(ip(1), now + YOUNG).unwrap();
        assert_eq!((evictions(&mut held), shares.taken().0), (1, 6));
        drop(held);
        assert_eq!(shares.taken(), (1, 1));
        drop(new);
        assert_eq!(shares.taken(), (0, 0), "the table has no entry for a client without slots");
    }

    /// Returns how many of these slots were taken away.
    fn evictions(held: &mut [(Share, Evicted)]) -> usize {
        let closed = |gone: &mut Evicted| gone.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        held.iter_mut().map(|(_, gone)| closed(gone)).filter(|gone| *gone).count()
    }

    #[test]
    fn the_client_with_the_most_slots_gives_one_up() {
        let (shares, now) = (shares(), Instant::now());
        let mut first: Vec<_> = (0..6).map_while(|_| shares.take(ip(1), now)).collect();
        let mut second: Vec<_> = (0..2).map_while(|_| shares.take(ip(2), now)).collect();
        assert_eq!(shares.taken(), (8, 2));
        // This needs no waiting time, although all slots are young.
        let third: Vec<_> = (0..2).map_while(|_| shares.take(ip(3), now)).collect();
        assert_eq!((third.len(), shares.taken()), (2, (8, 3)));
        assert_eq!((evictions(&mut first), evictions(&mut second)), (2, 0));
    }

    #[test]
    fn a_new_client_gets_a_slot_that_is_no_longer_young() {
        let (shares, now) = (shares(), Instant::now());
        let held: Vec<_> = (1..=8).map_while(|n| shares.take(ip(n), now)).collect();
        assert_eq!(held.len(), 8);
        assert!(shares.take(ip(9), now).is_none(), "no client has more slots than it would have");
        let late = shares.take(ip(9), now + YOUNG);
        assert_eq!((late.is_some(), shares.taken().0), (true, 8));
    }

    #[test]
    fn a_busy_slot_is_not_taken_away() {
        let (shares, now) = (shares(), Instant::now());
        let held: Vec<_> = (0..6).map_while(|_| shares.take(ip(1), now)).collect();
        held.iter().for_each(|(share, _)| share.begin());
        assert!(shares.take(ip(1), now + 2 * YOUNG).is_none());
        held[3].0.end(now + YOUNG);
        assert!(shares.take(ip(1), now + YOUNG).is_none(), "the slot is still young");
        assert!(shares.take(ip(1), now + 2 * YOUNG).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
