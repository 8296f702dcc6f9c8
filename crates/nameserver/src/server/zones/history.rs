//! Changes of a zone, and its latest changes for incremental transfers (RFC 1995).

use std::{collections::VecDeque, sync::Arc};

use super::{node::Records, record::ZoneRecord};

/// The maximum size of the kept changes in bytes. A secondary that needs older changes gets the whole zone.
const MAX_BYTES: usize = 1 << 20;

/// One change of one zone. Only registered records change in this way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The zone's name in wire format and lower case.
    pub zone: Box<[u8]>,
    /// The serial before the change.
    pub from: u32,
    /// The serial after the change.
    pub to: u32,
    /// The removed records (name, type, class, TTL, length, data).
    pub gone: Vec<u8>,
    /// The added records, in the same format.
    pub new: Vec<u8>,
}

impl Diff {
    pub fn zone(&self) -> &[u8] {
        &self.zone
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.zone.len() + self.gone.len() + self.new.len()
    }
}

/// Returns the records in `bytes`, each with its owner's name. Stops at the first incomplete record.
pub fn whole_records(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], ZoneRecord<'_>)> {
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let label = usize::from(*bytes.get(end)?);
            end += 1 + label;
            if label == 0 {
                break;
            }
        }
        let (name, rest) = bytes.split_at_checked(end)?;
        let mut records = Records(rest);
        let record = records.next()?;
        bytes = records.0;
        Some((name, record))
    })
}

/// The latest changes of a zone. Each starts at the serial at which the one before ended.
#[derive(Debug, Default)]
pub struct History {
    diffs: VecDeque<Arc<Diff>>,
    bytes: usize,
}

impl History {
    /// Adds a change, and removes the oldest ones if the limit is reached.
    pub fn push(&mut self, diff: Diff) {
        if self.diffs.back().is_some_and(|last| last.to != diff.from) {
            *self = Self::default();
        }
        self.bytes += diff.size();
        self.diffs.push_back(Arc::new(diff));
        while self.bytes > MAX_BYTES {
            let Some(oldest) = self.diffs.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }

    /// Returns the changes from `serial` to the present one, or `None` if they are no longer kept.
    pub fn since(&self, serial: u32) -> Option<Vec<Arc<Diff>>> {
        let start = self.diffs.iter().position(|d| d.from == serial)?;
        Some(self.diffs.iter().skip(start).cloned().collect())
    }
}
