//! Signed messages (TSIG, RFC 8945), on the bytes as they came: a reply, and each part of a transfer, is signed as what it is.

use std::sync::Arc;

use ring::hmac;

use super::{
    keyring::{Keyring, TsigKey},
    wire::{self, ANY, Name, rcode, rtype},
};

/// How far the clocks of both sides may be apart, in seconds (RFC 8945, section 10).
pub const FUDGE: u16 = 300;

/// Codes that stand in the record itself (RFC 8945, section 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// A TSIG record.
struct Tsig<'a> {
    /// Where it begins.
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

/// A message whose signature is right.
#[derive(Debug)]
pub struct Signed {
    pub key: Arc<TsigKey>,
    /// When it was signed, in seconds since 1970.
    pub time: u64,
    /// What tells this message from every other one: the beginning of its signature.
    pub fingerprint: u64,
    /// Signs what is said to it.
    pub signer: Signer,
}

/// Why a message's signature does not count.
#[derive(Debug)]
pub struct Refused {
    /// Said in the audit line.
    pub why: String,
    code: u16,
    /// What the reply's own TSIG record says.
    error: u16,
    key: Box<[u8]>,
    algorithm: Box<[u8]>,
    /// Only who could sign rightly gets a signed answer.
    signer: Option<Signer>,
    time: u64,
}

/// Checks the signature that begins at `at`, the last thing in `message`. `now`: seconds since 1970.
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
        // Also none at all: only replies may have that (RFC 8945, section 5.2.2.1).
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

/// What the signature of a request is over: the message without it, and its own fields (RFC 8945, section 4.3.3).
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
    /// Turns `out`, a whole reply whose code is still 0, into the refusal (RFC 8945, section 5.2).
    pub fn write(self, out: &mut Vec<u8>, now: u64) {
        out[3] = out[3] & 0xf0 | self.code as u8;
        if self.key.is_empty() || self.code != rcode::NOTAUTH {
            return;
        }
        match self.signer {
            // The time here goes along, so that the client may set its clock (RFC 8945, section 5.2.3).
            Some(mut signer) => signer.append(out, self.time, self.error, &now.to_be_bytes()[2..]),
            None => append(out, &self.key, &self.algorithm, self.time, &[], self.error, &[]),
        }
    }
}

/// Signs the reply to one message, or its parts one after the other.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<TsigKey>,
    /// The signature before: the request's, then that of each part.
    before: Vec<u8>,
    first: bool,
}

impl Signer {
    /// Signs a request, which answers nothing before it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn request(key: Arc<TsigKey>) -> Self {
        Self { key, before: Vec::new(), first: true }
    }

    /// How many bytes a signature takes in a message.
    pub fn length(&self) -> usize {
        self.key.name.len() + 10 + self.key.algorithm.len() + 16 + self.key.length()
    }

    /// Signs a whole message. `now`: seconds since 1970.
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
