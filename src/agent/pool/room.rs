//! How much room the pool has, and how much of it the reserve should take.

use std::path::Path;

use lap_base::error::{Kind, OrError, Result};
use nix::sys::statvfs::statvfs;

use crate::wire::protocol::DataFacts;

/// The reserve is this part of the pool, within limits.
const PART: u64 = 32;
const LEAST: u64 = 8 << 20;
const MOST: u64 = 1 << 30;

/// The pool at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRoom {
    pub size: u64,
    /// What containers can still write: without the reserve.
    pub free: u64,
    /// What the reserve takes.
    pub reserve: u64,
}

impl PoolRoom {
    /// Of the file system at `pool`.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn of(pool: &Path, reserve: u64) -> Result<Self> {
        let stat = statvfs(pool).or_error(Kind::Node, || format!("cannot look at `{}`", pool.display()))?;
        let unit = stat.fragment_size();
        Ok(Self { size: stat.blocks() * unit, free: stat.blocks_available() * unit, reserve })
    }

    /// Whether the pool is almost full, as `lap status` says it.
    pub fn is_low(&self) -> bool {
        self.free < DataFacts::low(self.size)
    }

    /// Whether there is room again: more than where it becomes low, so that a container is not frozen and thawed in turns.
    pub fn is_ample(&self) -> bool {
        self.free >= DataFacts::low(self.size) * 2
    }

    /// The whole reserve of this pool.
    pub fn whole(&self) -> u64 {
        (self.size / PART).clamp(LEAST, MOST)
    }

    /// How large the reserve should be now. `frozen`: the agent froze the container that filled the pool, so that what the reserve gives
    /// is for the others.
    pub fn target(&self, frozen: bool) -> u64 {
        let (whole, half) = (self.whole(), self.whole() / 2);
        let available = self.free + self.reserve;
        let low = DataFacts::low(self.size);
        let is_room = available >= whole + low;
        if available >= whole + 2 * low || (is_room && !frozen) {
            whole
        } else if is_room {
            // While a container is frozen, the others get and lose their part at different levels.
            self.reserve.max(half)
        } else if frozen && self.reserve > half {
            half
        } else if self.reserve < whole / 4 {
            // A snapshot or a restore has used it.
            half.min(available / 2).max(self.reserve)
        } else {
            self.reserve
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn target(free: u64, reserve: u64, frozen: bool) -> u64 {
        PoolRoom { size: 1024 * MIB, free: free * MIB, reserve: reserve * MIB }.target(frozen) / MIB
    }

    #[test]
    fn the_reserve_is_whole_as_long_as_there_is_room_for_it() {
        assert_eq!([target(500, 0, false), target(53, 0, false), target(21, 32, false)], [32, 32, 32]);
    }

    #[test]
    fn of_a_full_pool_the_others_get_half_of_it_and_the_rest_stays_for_snapshots() {
        assert_eq!(target(0, 32, false), 32, "what is not frozen would take it, too");
        assert_eq!(target(0, 32, true), 16);
        assert_eq!([target(16, 16, true), target(1, 16, true), target(1, 9, true)], [16, 16, 9], "it is given once");
    }

    #[test]
    fn while_a_container_is_frozen_the_reserve_does_not_go_to_and_fro() {
        // Whole with 2 % beside it: without a frozen container it grows, with one it stays as it is.
        assert_eq!([target(40, 16, false), target(40, 16, true), target(24, 32, true)], [32, 16, 32]);
        assert_eq!(target(57, 16, true), 32, "4 % beside it");
        assert_eq!(target(60, 0, true), 16, "a snapshot has used it");
    }

    #[test]
    fn what_a_snapshot_used_is_taken_back_and_containers_keep_as_much() {
        assert_eq!([target(30, 0, true), target(30, 0, false), target(6, 0, true), target(0, 0, true)], [15, 15, 3, 0]);
        assert_eq!(target(2, 7, true), 7, "what it has is not less for that");
    }

    #[test]
    fn low_and_ample_do_not_meet() {
        let room = |free| PoolRoom { size: 1000, free, reserve: 0 };
        assert!(room(19).is_low() && !room(20).is_low());
        assert!(!room(39).is_ample() && room(40).is_ample());
    }

    #[test]
    fn it_is_a_small_part_of_any_pool() {
        let whole = |size| PoolRoom { size, free: 0, reserve: 0 }.whole();
        assert_eq!([whole(100 * MIB), whole(1024 * MIB), whole(4 << 40)], [8 * MIB, 32 * MIB, 1024 * MIB]);
    }
}
