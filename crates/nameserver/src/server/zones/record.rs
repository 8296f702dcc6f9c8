//! One record without the name of its owner.

/// One record without its owner's name: type, class, TTL, length, data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRecord<'a>(&'a [u8]);

impl<'a> ZoneRecord<'a> {
    /// `bytes` is one whole record.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub fn rtype(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// In seconds.
    pub fn ttl(self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// In wire format, names uncompressed.
    pub fn data(self) -> &'a [u8] {
        &self.0[10..]
    }
}
