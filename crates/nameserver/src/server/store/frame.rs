//! The frames of the journal. Each has its length and its checksum in front.
//!
//! ```text
//! 4 length of the body | 8 first bytes of the body's SHA-256 | body: 1 kind | …
//! ```
//! Numbers are big-endian. Names and records are in wire format.

use ring::digest::{SHA256, digest};

use crate::server::zones::Diff;

const HEAD: usize = 12;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A zone: its serial, and the sum of its fixed records when it got this serial.
    Zone { name: Box<[u8]>, serial: u32, fixed: u64 },
    /// Registered records, as part of an image.
    Records(Vec<u8>),
    /// A change.
    Change(Diff),
    /// A lease: the records of this name and type are registered until this time, in seconds since 1970. 0 means
    /// without end.
    Lease { name: Box<[u8]>, rtype: u16, until: u64 },
    /// An answered update: the time of its signature, the first bytes of its signature, and the response code.
    Answered { time: u64, fingerprint: u64, code: u16 },
}

/// Appends a frame.
pub fn write(out: &mut Vec<u8>, frame: &Frame) {
    seal(out, |out| body(out, frame));
}

/// Appends a frame whose body `body` writes.
pub fn seal(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    body(out);
    let length = (out.len() - start - HEAD) as u32;
    let sum = digest(&SHA256, &out[start + HEAD..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&sum.as_ref()[..8]);
}

fn body(out: &mut Vec<u8>, frame: &Frame) {
    let name = |out: &mut Vec<u8>, name: &[u8]| {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
    };
    match frame {
        Frame::Zone { name: zone, serial, fixed } => {
            out.push(1);
            name(out, zone);
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&fixed.to_be_bytes());
        }
        Frame::Records(records) => {
            out.push(2);
            out.extend_from_slice(records);
        }
        Frame::Change(diff) => {
            out.push(3);
            name(out, &diff.zone);
            out.extend_from_slice(&diff.from.to_be_bytes());
            out.extend_from_slice(&diff.to.to_be_bytes());
            out.extend_from_slice(&(diff.gone.len() as u32).to_be_bytes());
            out.extend_from_slice(&diff.gone);
            out.extend_from_slice(&diff.new);
        }
        Frame::Lease { name: owner, rtype, until } => {
            out.push(4);
            name(out, owner);
            out.extend_from_slice(&rtype.to_be_bytes());
            out.extend_from_slice(&until.to_be_bytes());
        }
        Frame::Answered { time, fingerprint, code } => {
            out.push(5);
            out.extend_from_slice(&time.to_be_bytes());
            out.extend_from_slice(&fingerprint.to_be_bytes());
            out.extend_from_slice(&code.to_be_bytes());
        }
    }
}

/// Reads the first frame of `bytes` and returns it with its size. Returns `None` if the frame is incomplete or damaged.
pub fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let body = bytes.get(HEAD..HEAD + length)?;
    if digest(&SHA256, body).as_ref()[..8] != bytes[4..HEAD] {
        return None;
    }
    Some((parse(body)?, HEAD + length))
}

fn parse(body: &[u8]) -> Option<Frame> {
    let mut rest = Rest(body);
    let frame = match rest.take::<1>()?[0] {
        1 => Frame::Zone {
            name: rest.name()?,
            serial: u32::from_be_bytes(rest.take()?),
            fixed: u64::from_be_bytes(rest.take()?),
        },
        2 => Frame::Records(std::mem::take(&mut rest.0).to_vec()),
        3 => {
            let (zone, from, to) = (rest.name()?, u32::from_be_bytes(rest.take()?), u32::from_be_bytes(rest.take()?));
            let gone = u32::from_be_bytes(rest.take()?) as usize;
            let (gone, new) = std::mem::take(&mut rest.0).split_at_checked(gone)?;
            Frame::Change(Diff { zone, from, to, gone: gone.to_vec(), new: new.to_vec() })
        }
        4 => Frame::Lease {
            name: rest.name()?,
            rtype: u16::from_be_bytes(rest.take()?),
            until: u64::from_be_bytes(rest.take()?),
        },
        5 => Frame::Answered {
            time: u64::from_be_bytes(rest.take()?),
            fingerprint: u64::from_be_bytes(rest.take()?),
            code: u16::from_be_bytes(rest.take()?),
        },
        _ => return None,
    };
    rest.0.is_empty().then_some(frame)
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// Reads a name. Returns `None` if these bytes are not exactly one name.
    fn name(&mut self) -> Option<Box<[u8]>> {
        let length = usize::from(self.take::<1>()?[0]);
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (crate::server::wire::skip_name(name, 0)? == length).then(|| name.into())
    }
}
