//! Writes journals that no store would write.

use super::frame::{self, Frame};

pub use super::journal::MAGIC;

/// Appends registered records.
pub fn records(out: &mut Vec<u8>, records: Vec<u8>) {
    frame::write(out, &Frame::Records(records));
}

/// Appends any bytes as a frame whose checksum is right.
pub fn frame(out: &mut Vec<u8>, body: &[u8]) {
    frame::seal(out, |out| out.extend_from_slice(body));
}
