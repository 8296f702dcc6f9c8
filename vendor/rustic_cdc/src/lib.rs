//! rustic_cdc 0.3.1, whose tables are worked out once for each polynomial and not for each file: that took as long as 26 KiB take to be
//! compressed. To be dropped when a release of rustic_core does so.

mod polynom;
mod rolling_hash;

pub use polynom::{Polynom, Polynom64};
pub use rolling_hash::{Rabin64, RollingHash64};
