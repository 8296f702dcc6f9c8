//! Writes journals that the store itself never writes.

use super::frame::{self, Frame};

pub use super::journal::MAGIC;

/// Appends a frame of registered records.
pub fn records(out: &mut Vec<u8>, records: Vec<u8>) {
    frame::write(out, &Frame::Records(records));
}

/// Appends a frame with any body and a correct checksum.
pub fn frame(out: &mut Vec<u8>, body: &[u8]) {
    frame::seal(out, |out| out.extend_from_slice(body));
}
