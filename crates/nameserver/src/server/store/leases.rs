//! Leases: registrations that end if they are not renewed.

use std::collections::{BTreeSet, HashMap};

/// A name in wire format, and a type.
pub type Owner = (Box<[u8]>, u16);

/// The end of each lease, in seconds since 1970. A registration without an entry does not end.
#[derive(Debug, Default)]
pub struct Leases {
    until: HashMap<Owner, u64>,
    order: BTreeSet<(u64, Owner)>,
}

impl Leases {
    /// Sets the end of a lease. 0 removes the lease, so that the registration does not end.
    pub fn set(&mut self, owner: Owner, until: u64) {
        self.remove(&owner);
        if until != 0 {
            self.order.insert((until, owner.clone()));
            self.until.insert(owner, until);
        }
    }

    /// Returns the end of a lease, or `None` if the registration has none.
    pub fn get(&self, owner: &Owner) -> Option<u64> {
        self.until.get(owner).copied()
    }

    pub fn remove(&mut self, owner: &Owner) {
        if let Some(until) = self.until.remove(owner) {
            self.order.remove(&(until, owner.clone()));
        }
    }

    /// Returns the time at which the next lease ends.
    pub fn next(&self) -> Option<u64> {
        self.order.first().map(|(until, _)| *until)
    }

    /// Returns the owners whose leases have ended at `now`.
    pub fn ended(&self, now: u64) -> Vec<Owner> {
        self.order.iter().take_while(|(until, _)| *until <= now).map(|(_, owner)| owner.clone()).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Owner, u64)> {
        self.until.iter().map(|(owner, until)| (owner, *until))
    }
}
