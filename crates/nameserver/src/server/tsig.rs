//! Signatures of messages (TSIG, RFC 8945). They cover the bytes as received. A reply, and each message of a transfer,
//! has its own signature.

use std::sync::Arc;

use ring::hmac;

use super::{
    keyring::{Keyring, TsigKey},
    wire::{self, ANY, Name, rcode, rtype},
};

/// The maximum difference between the two clocks in seconds (RFC 8945, section 10).
pub const FUDGE: u16 = 300;

/// The error codes inside a TSIG record (RFC 8945, section 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// A TSIG record.
struct Tsig<'a> {
    /// The position of its first byte.
    at: usize,
    key: Name,
    algorithm: Name,
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    original_id: u16,
    error: u16,
    other: &'a [u8],
}

fn read(message: &[u8], at: usize) -> Option<Tsig<'_>> {
    let (key, next) = wire::expand(message, at)?;
    let class = wire::u16_at(message, next + 2)?;
    let ttl = wire::u32_at(message, next + 4)?;
    let end = next + 10 + usize::from(wire::u16_at(message, next + 8)?);
    let (algorithm, at_time) = wire::expand(message, next + 10)?;
    let time = u64::from(wire::u16_at(message, at_time)?) << 32 | u64::from(wire::u32_at(message, at_time + 2)?);
    let fudge = wire::u16_at(message, at_time + 6)?;
    let mac_end = at_time + 10 + usize::from(wire::u16_at(message, at_time + 8)?);
    let mac = message.get(at_time + 10..mac_end)?;
    let original_id = wire::u16_at(message, mac_end)?;
    let error = wire::u16_at(message, mac_end + 2)?;
    let other = message.get(mac_end + 6..mac_end + 6 + usize::from(wire::u16_at(message, mac_end + 4)?))?;
    let whole = class == ANY && ttl == 0 && end == message.len() && mac_end + 6 + other.len() == end;
    whole.then_some(Tsig { at, key, algorithm, time, fudge, mac, original_id, error, other })
}

/// A message with a valid signature.
#[derive(Debug)]
pub struct Signed {
    pub key: Arc<TsigKey>,
    /// The time of the signature in seconds since 1970.
    pub time: u64,
    /// The first bytes of the signature. They distinguish this message from all others.
    pub fingerprint: u64,
    /// Signs the reply.
    pub signer: Signer,
}

/// The reason why a signature is refused.
#[derive(Debug)]
pub struct Refused {
    /// The text for the audit log.
    pub why: String,
    code: u16,
    /// The error code in the TSIG record of the reply.
    error: u16,
    key: Box<[u8]>,
    algorithm: Box<[u8]>,
    /// A signed reply is sent only if the client's signature was valid.
    signer: Option<Signer>,
    time: u64,
}

/// Verifies the signature that begins at `at`, the last record of `message`. `now` is the time in seconds since 1970.
pub fn verify(message: &[u8], at: usize, keys: &Keyring, now: u64) -> Result<Signed, Refused> {
    let Some(tsig) = read(message, at) else {
        return Err(Refused {
            why: "its signature is malformed".into(),
            code: rcode::FORMERR,
            error: 0,
            key: Box::default(),
            algorithm: Box::default(),
            signer: None,
            time: now,
        });
    };
    let name = wire::text(&tsig.key);
    let refused = |why: String, error: u16, signer| Refused {
        why,
        code: rcode::NOTAUTH,
        error,
        key: tsig.key.to_vec().into(),
        algorithm: tsig.algorithm.to_vec().into(),
        signer,
        time: tsig.time,
    };
    let key = keys.get(&tsig.key).filter(|key| *key.algorithm == *tsig.algorithm);
    let Some(key) = key else {
        return Err(refused(format!("there is no key `{name}` with {}", wire::text(&tsig.algorithm)), BADKEY, None));
    };
    let signed = digested(message, &tsig);
    // The library compares in constant time.
    match tsig.mac.len().cmp(&key.length()) {
        std::cmp::Ordering::Equal if hmac::verify(&key.secret, &signed, tsig.mac).is_ok() => {}
        std::cmp::Ordering::Less if tsig.mac.len() >= 10.max(key.length() / 2) => {
            return Err(refused(format!("the signature of key `{name}` is truncated"), BADTRUNC, None));
        }
        // An empty signature is malformed too, because only replies may have one (RFC 8945, section 5.2.2.1).
        std::cmp::Ordering::Less | std::cmp::Ordering::Greater => {
            return Err(Refused { code: rcode::FORMERR, ..refused("its signature is malformed".into(), 0, None) });
        }
        _ => return Err(refused(format!("the signature of key `{name}` is wrong"), BADSIG, None)),
    }
    let signer = Signer { key: key.clone(), before: tsig.mac.to_vec(), first: true };
    if tsig.time.abs_diff(now) > u64::from(tsig.fudge.min(FUDGE)) {
        let why = format!("the time of its signature with key `{name}` differs by {} s", tsig.time.abs_diff(now));
        return Err(refused(why, BADTIME, Some(signer)));
    }
    let fingerprint = tsig.mac.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    Ok(Signed { key: key.clone(), time: tsig.time, fingerprint, signer })
}

/// Returns the bytes that the signature of a request covers: the message without the TSIG record, and the record's own
/// fields (RFC 8945, section 4.3.3).
fn digested(message: &[u8], tsig: &Tsig) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    out.extend_from_slice(&message[..tsig.at]);
    out[..2].copy_from_slice(&tsig.original_id.to_be_bytes());
    let additionals = u16::from_be_bytes([out[10], out[11]]).saturating_sub(1);
    out[10..12].copy_from_slice(&additionals.to_be_bytes());
    variables(&mut out, &tsig.key, &tsig.algorithm);
    timers(&mut out, tsig.time, tsig.fudge);
    tail(&mut out, tsig.error, tsig.other);
    out
}

fn variables(out: &mut Vec<u8>, key: &[u8], algorithm: &[u8]) {
    out.extend_from_slice(key);
    out.extend_from_slice(&ANY.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(algorithm);
}

fn timers(out: &mut Vec<u8>, time: u64, fudge: u16) {
    out.extend_from_slice(&time.to_be_bytes()[2..]);
    out.extend_from_slice(&fudge.to_be_bytes());
}

fn tail(out: &mut Vec<u8>, error: u16, other: &[u8]) {
    out.extend_from_slice(&error.to_be_bytes());
    out.extend_from_slice(&(other.len() as u16).to_be_bytes());
    out.extend_from_slice(other);
}

impl Refused {
    /// Turns `out`, a complete reply with response code 0, into the refusal (RFC 8945, section 5.2).
    pub fn write(self, out: &mut Vec<u8>, now: u64) {
        out[3] = out[3] & 0xf0 | self.code as u8;
        if self.key.is_empty() || self.code != rcode::NOTAUTH {
            return;
        }
        match self.signer {
            // The reply contains this server's time, so that the client can correct its clock (RFC 8945, section
            // 5.2.3).
            Some(mut signer) => signer.append(out, self.time, self.error, &now.to_be_bytes()[2..]),
            None => append(out, &self.key, &self.algorithm, self.time, &[], self.error, &[]),
        }
    }
}

/// Signs the reply to one message, or the messages of a transfer one after the other.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<TsigKey>,
    /// The previous signature: first the request's, then that of each message.
    before: Vec<u8>,
    first: bool,
}

impl Signer {
    /// Returns a signer for a request, which has no previous signature.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn request(key: Arc<TsigKey>) -> Self {
        Self { key, before: Vec::new(), first: true }
    }

    /// Returns the size of a signature in a message, in bytes.
    pub fn length(&self) -> usize {
        self.key.name.len() + 10 + self.key.algorithm.len() + 16 + self.key.length()
    }

    /// Signs a complete message. `now` is the time in seconds since 1970.
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.append(message, now, 0, &[]);
    }

    fn append(&mut self, message: &mut Vec<u8>, time: u64, error: u16, other: &[u8]) {
        let mut signed = Vec::with_capacity(message.len() + 128);
        if !self.before.is_empty() {
            signed.extend_from_slice(&(self.before.len() as u16).to_be_bytes());
            signed.extend_from_slice(&self.before);
        }
        signed.extend_from_slice(message);
        if self.first {
            variables(&mut signed, &self.key.name, &self.key.algorithm);
            timers(&mut signed, time, FUDGE);
            tail(&mut signed, error, other);
        } else {
            timers(&mut signed, time, FUDGE);
        }
        self.first = false;
        self.before = hmac::sign(&self.key.secret, &signed).as_ref().to_vec();
        append(message, &self.key.name, &self.key.algorithm, time, &self.before, error, other);
    }
}

fn append(out: &mut Vec<u8>, key: &[u8], algorithm: &[u8], time: u64, mac: &[u8], error: u16, other: &[u8]) {
    let id = [out[0], out[1]];
    out.extend_from_slice(key);
    out.extend_from_slice(&rtype::TSIG.to_be_bytes());
    out.extend_from_slice(&ANY.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let length = algorithm.len() + 16 + mac.len() + other.len();
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(algorithm);
    timers(out, time, FUDGE);
    out.extend_from_slice(&(mac.len() as u16).to_be_bytes());
    out.extend_from_slice(mac);
    out.extend_from_slice(&id);
    tail(out, error, other);
    let additionals = u16::from_be_bytes([out[10], out[11]]) + 1;
    out[10..12].copy_from_slice(&additionals.to_be_bytes());
}
