//! Records without their owner's name.

/// One record without its owner's name: type, class, TTL, length, data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRecord<'a>(&'a [u8]);

impl<'a> ZoneRecord<'a> {
    /// `bytes` must be one complete record.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub fn rtype(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Returns the TTL in seconds.
    pub fn ttl(self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// Returns the data in wire format, with uncompressed names.
    pub fn data(self) -> &'a [u8] {
        &self.0[10..]
    }
}
