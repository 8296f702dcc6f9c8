//! Reading certificates: what they are for, how long, and who signed them.

use std::{collections::BTreeSet, net::IpAddr};

use lap_base::{Error, Kind, Result};
use ring::digest::{SHA256, digest};
use time::OffsetDateTime;
use x509_parser::{
    extensions::{GeneralName, GeneralSubtree},
    pem::Pem,
    prelude::X509Certificate,
};

/// What lap needs to know of a certificate.
#[derive(Debug)]
pub(super) struct CertificateFacts {
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) names: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The DNS names an authority may vouch for, with all below them (RFC 5280, section 4.2.1.10).
    pub(super) permitted: Vec<String>,
    /// Those that it may not vouch for, although they are below a permitted one.
    pub(super) excluded: Vec<String>,
    /// The address ranges that an authority may vouch for: address and mask, as in the certificate.
    pub(super) ranges: Vec<Vec<u8>>,
    pub(super) is_ca: bool,
    /// The raw public key, as [`rcgen::PublicKeyData`] has it.
    pub(super) public_key: Vec<u8>,
}

/// The DER blocks of every certificate in a PEM text, in order. What is not a certificate is left out.
pub(super) fn blocks(pem: &str) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).map_while(std::result::Result::ok);
    blocks.filter(|b| b.label == "CERTIFICATE").map(|b| b.contents).collect()
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, c)| c)
}

/// Reads one certificate; `None` when it is not one.
pub(super) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let certificate = parse(der)?;
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let alternatives = certificate.subject_alternative_name().ok()?;
    for name in alternatives.iter().flat_map(|a| &a.value.general_names) {
        match name {
            GeneralName::DNSName(name) => drop(names.insert((*name).to_owned())),
            GeneralName::IPAddress(raw) => drop(addresses.insert(address(raw)?)),
            _ => {}
        }
    }
    let constraints = certificate.name_constraints().ok()?;
    let names_of = |subtrees: Option<&Vec<GeneralSubtree<'_>>>| {
        let names = subtrees.into_iter().flatten().filter_map(|subtree| match &subtree.base {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    let constraints = constraints.as_ref().map(|constraints| constraints.value);
    let ranges = constraints.and_then(|c| c.permitted_subtrees.as_ref()).into_iter().flatten();
    let ranges = ranges.filter_map(|subtree| match &subtree.base {
        GeneralName::IPAddress(range) => Some(range.to_vec()),
        _ => None,
    });
    Some(CertificateFacts {
        permitted: names_of(constraints.and_then(|c| c.permitted_subtrees.as_ref())),
        ranges: ranges.collect(),
        excluded: names_of(constraints.and_then(|c| c.excluded_subtrees.as_ref())),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        names,
        addresses,
        is_ca: certificate.is_ca(),
        public_key: certificate.public_key().subject_public_key.data.to_vec(),
    })
}

fn address(raw: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(raw).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(raw).map(IpAddr::from)).ok()
}

/// Whether `issuer`'s key signed `certificate` (both DER).
pub(super) fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Some(certificate), Some(issuer)) = (parse(certificate), parse(issuer)) else { return false };
    certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// Whether two PEM texts are certificates of one authority: the same subject, the same key, and the same names and addresses that it may
/// vouch for.
pub(super) fn is_same_authority(one: &[u8], other: &[u8]) -> bool {
    let read = |pem: &[u8]| {
        let [der] = <[Vec<u8>; 1]>::try_from(blocks(std::str::from_utf8(pem).ok()?)).ok()?;
        let facts = facts(&der).filter(|facts| facts.is_ca)?;
        Some((common_name(&der)?, facts.public_key, facts.permitted, facts.ranges))
    };
    read(one).is_some_and(|one| Some(one) == read(other))
}

/// Whether `new` may replace `old`, a certificate of the same authority: it was signed later but not in the future, ends no earlier, and
/// excludes no less.
pub(super) fn is_better(new: &[u8], old: &[u8], now: OffsetDateTime) -> bool {
    let read = |pem: &[u8]| facts(blocks(std::str::from_utf8(pem).ok()?).first()?);
    let (Some(new), Some(old)) = (read(new), read(old)) else { return false };
    let is_later = new.not_before > old.not_before && new.not_before <= now;
    is_later && new.not_after >= old.not_after && old.excluded.iter().all(|name| new.excluded.contains(name))
}

/// The first certificate of a PEM text, and what follows it.
pub(super) fn split_first(pem: &str) -> (&str, &str) {
    const END: &str = "-----END CERTIFICATE-----";
    let end = pem.find(END).map_or(pem.len(), |at| at + END.len());
    let end = end + pem[end..].len() - pem[end..].trim_start_matches(['\r', '\n']).len();
    pem.split_at(end)
}

/// The common name of a certificate's subject.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let certificate = parse(der)?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().filter(|_| certificate.subject().iter().count() == 1)?;
    name.as_str().ok().map(str::to_owned)
}

/// When the first certificate in a PEM text ends.
///
/// # Errors
/// [`Kind::Keys`] when there is no certificate.
pub(super) fn end(pem: &str) -> Result<OffsetDateTime> {
    let facts = blocks(pem).first().and_then(|der| facts(der));
    facts.map(|facts| facts.not_after).ok_or_else(|| Error::new(Kind::Keys, "there is no certificate in this text"))
}

/// The SHA-256 fingerprint of the first certificate in a PEM text, as `openssl x509 -fingerprint -sha256` prints it
/// (without the label): `AB:CD:…`.
///
/// # Errors
/// [`Kind::Keys`] when there is no certificate.
pub fn fingerprint(pem: &str) -> Result<String> {
    let blocks = blocks(pem);
    let der = blocks.first().ok_or_else(|| Error::new(Kind::Keys, "there is no certificate in this text"))?;
    let bytes = digest(&SHA256, der);
    Ok(bytes.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"))
}
