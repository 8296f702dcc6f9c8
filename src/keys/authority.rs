//! The lab's certificate authority: a root, and below it one issuing authority per environment.
//!
//! Both are name-constrained: whoever steals one of these keys can pretend to be a machine of the lab, and nothing else
//! on the internet, to those who trust the lab. Certificates name addresses too, so that private ranges are permitted;
//! a constraint on names alone would leave every address of the internet open.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use lap_base::{Error, Kind, OrError, Result, random::random, secret::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::certificate;

/// What a lab's certificates may name beside its zone.
const LOCALHOST: &str = "localhost";
/// Addresses that the lab's certificates may have: private, shared (RFC 6598), link-local, loopback.
const RANGES: [(&str, u8); 9] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("100.64.0.0", 10),
    ("169.254.0.0", 16),
    ("127.0.0.0", 8),
    ("fc00::", 7),
    ("fe80::", 10),
    ("::1", 128),
];
/// How far back certificates are dated, for clocks that are behind.
pub(super) const BACKDATED: Duration = Duration::HOUR;

/// A certificate authority with its key.
pub(super) struct Authority {
    pub(super) certificate: String,
    der: Vec<u8>,
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", certificate::fingerprint(&self.certificate).unwrap_or_default())
    }
}

impl Authority {
    /// Puts together what was read; `Err` says what is wrong without any of its content.
    pub(super) fn parse(certificate: &str, key: KeyPair) -> std::result::Result<Self, &'static str> {
        let der = check(certificate)?;
        let facts = certificate::facts(&der).ok_or("it is not a certificate")?;
        if facts.public_key != key.der_bytes() {
            return Err("it does not belong to the key beside it");
        }
        Ok(Self { certificate: certificate.to_owned(), der, key })
    }

    /// The certificate, DER.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its subject, as it stands in the certificate.
    fn subject(&self) -> Result<DistinguishedName> {
        let name = certificate::common_name(&self.der);
        let name = name.ok_or_else(|| Error::new(Kind::Keys, "a certificate of an authority has no common name"))?;
        Ok(named(&name))
    }

    /// Signs `params`: PEM.
    pub(super) fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<String> {
        let what = || "cannot sign a certificate".to_owned();
        let issuer = Issuer::from_ca_cert_der(&self.der.as_slice().into(), &self.key).or_error(Kind::Keys, what)?;
        Ok(params.signed_by(key, &issuer).or_error(Kind::Keys, what)?.pem())
    }
}

/// The DER of a PEM text that is exactly one authority's certificate; `Err` says what is wrong.
pub(super) fn check(certificate: &str) -> std::result::Result<Vec<u8>, &'static str> {
    let [der] = <[Vec<u8>; 1]>::try_from(certificate::blocks(certificate)).map_err(|_| "it is not one certificate")?;
    match certificate::facts(&der) {
        None => Err("it is not a certificate"),
        Some(facts) if !facts.is_ca => Err("it is not the certificate of an authority"),
        Some(_) => Ok(der),
    }
}

/// A new P-256 key.
pub(super) fn new_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).or_error(Kind::Other, || "cannot make a P-256 key".into())
}

/// A key as it is written to a file.
pub(super) fn key_pem(key: &KeyPair) -> Secret {
    Secret::new(key.serialize_pem())
}

/// The lab's root: 20 years, one authority below it, for names in `zone`. PEM.
pub(super) fn root(lab: &str, zone: &str, key: &KeyPair, now: OffsetDateTime) -> Result<String> {
    let names = [zone.to_owned(), LOCALHOST.to_owned()];
    self_signed(authority(named(&format!("lap {} root", short(lab))), &names, 1, 20 * 365, now)?, key)
}

/// The same root for another 20 years. A machine that trusts the old certificate also trusts what the new one signs, until the old one ends.
pub(super) fn root_again(old: &Authority, now: OffsetDateTime) -> Result<String> {
    let permitted = certificate::facts(old.der()).map(|facts| facts.permitted).unwrap_or_default();
    self_signed(authority(old.subject()?, &permitted, 1, 20 * 365, now)?, &old.key)
}

fn self_signed(params: CertificateParams, key: &KeyPair) -> Result<String> {
    Ok(params.self_signed(key).or_error(Kind::Other, || "cannot sign the root certificate".into())?.pem())
}

/// An environment's issuing authority: 10 years, for TLS servers only, no authority below it. It may sign the names that the root
/// may sign, except the names of the `others`, the lab's other environments in `zone`. PEM.
pub(super) fn issuing(
    lab: &str,
    environment: &str,
    others: &[String],
    zone: &str,
    root: &Authority,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<String> {
    let name = format!("lap {} {} issuing", short(lab), short(environment));
    sign_issuing(named(&name), (others, zone), root, key, now)
}

/// The same issuing authority for another 10 years, for these `others`.
pub(super) fn issuing_again(
    old: &Authority,
    others: &[String],
    zone: &str,
    root: &Authority,
    now: OffsetDateTime,
) -> Result<String> {
    sign_issuing(old.subject()?, (others, zone), root, &old.key, now)
}

fn sign_issuing(
    name: DistinguishedName,
    (others, zone): (&[String], &str),
    root: &Authority,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<String> {
    let permitted = certificate::facts(root.der()).map(|facts| facts.permitted).unwrap_or_default();
    let mut params = authority(name, &permitted, 0, 10 * 365, now)?;
    if let Some(constraints) = &mut params.name_constraints {
        constraints.excluded_subtrees =
            excluded(&permitted, others, zone).into_iter().map(GeneralSubtree::DnsName).collect();
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    root.sign(&params, key)
}

/// What an issuing authority may not sign: the names of the other environments, in the lab's zone and in the zone that the root is for.
pub(super) fn excluded(permitted: &[String], others: &[String], zone: &str) -> BTreeSet<String> {
    let zones = permitted.iter().map(String::as_str).filter(|name| *name != LOCALHOST).chain([zone]);
    zones.flat_map(|zone| others.iter().map(move |other| format!("{other}.{zone}"))).collect()
}

fn authority(
    name: DistinguishedName,
    permitted: &[String],
    below: u8,
    days: i64,
    now: OffsetDateTime,
) -> Result<CertificateParams> {
    let mut params = parameters(name, now)?;
    params.not_after = params.not_before + Duration::days(days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let names = permitted.iter().map(|n| GeneralSubtree::DnsName(n.clone()));
    let ranges = ranges().map(|(base, bits)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(base, bits)));
    let permitted_subtrees = names.chain(ranges).collect();
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    Ok(params)
}

/// What all certificates have in common: the subject's name, a random serial number, and dates that start an hour ago.
pub(super) fn parameters(name: DistinguishedName, now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    let mut serial = random::<16>()?;
    // Positive, and never shorter than it looks.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - BACKDATED;
    Ok(params)
}

/// A subject with only this common name.
pub(super) fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Whether one of these subtrees contains the name (lower case; RFC 5280, section 4.2.1.10).
pub(super) fn contains_name(subtrees: &[String], name: &str) -> bool {
    subtrees.iter().any(|n| name.strip_suffix(n.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether a certificate of the lab may name this address.
pub(super) fn permits_address(address: IpAddr) -> bool {
    ranges().any(|(base, bits)| match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(a)) => (u32::from(base) ^ u32::from(a)).leading_zeros() >= bits.into(),
        (IpAddr::V6(base), IpAddr::V6(a)) => (u128::from(base) ^ u128::from(a)).leading_zeros() >= bits.into(),
        _ => false,
    })
}

fn ranges() -> impl Iterator<Item = (IpAddr, u8)> {
    RANGES.iter().filter_map(|(base, bits)| Some((base.parse().ok()?, *bits)))
}

/// A common name has 64 characters at most, and the root's must differ from the issuing one's also when shortened.
fn short(label: &str) -> &str {
    label.get(..24).unwrap_or(label)
}

/// The certificate of an authority is signed again that long before its end: everything below it ends with it.
pub(super) const AHEAD: Duration = Duration::days(365);

pub(super) fn is_near(authority: &Authority, now: OffsetDateTime) -> bool {
    certificate::facts(authority.der()).is_some_and(|facts| facts.not_after - now < AHEAD)
}

/// A root certificate with the name and the key of `root`, for another zone, or signed by another key.
#[cfg(test)]
pub(super) fn root_for_test(root: &Authority, signer: &Authority, zone: &str, now: OffsetDateTime) -> Result<String> {
    let names = [zone.to_owned(), LOCALHOST.to_owned()];
    signer.sign(&authority(root.subject()?, &names, 1, 20 * 365 + 1, now)?, &root.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_the_lab_only() {
        for (name, may) in [
            ("internal", true),
            ("git.internal", true),
            ("localhost", true),
            ("notinternal", false),
            ("internal.example.org", false),
        ] {
            assert_eq!(contains_name(&["internal".into(), "localhost".into()], name), may, "{name}");
        }
        for (address, may) in [
            ("10.255.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("::1", true),
            ("::2", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(permits_address(address.parse().unwrap()), may, "{address}");
        }
    }

    #[test]
    fn a_key_that_does_not_belong_is_found() {
        let (one, two) = (new_key().unwrap(), new_key().unwrap());
        let certificate = root("office", "internal", &one, OffsetDateTime::now_utc()).unwrap();
        assert!(Authority::parse(&certificate, two).is_err());
        let root = Authority::parse(&certificate, one).unwrap();
        assert!(format!("{root:?}").starts_with("Authority("));
        assert!(check("").is_err() && check(&certificate.repeat(2)).is_err() && check(&certificate[..200]).is_err());
    }
}
