//! Certificates of TLS servers: 397 days (the most that browsers take), made anew when two thirds are over.

use std::{collections::BTreeSet, net::IpAddr};

use lap_base::{Error, Kind, OrError, Result, secret::Secret};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};

use super::{
    authority::{self, Authority, contains_name, parameters, permits_address},
    certificate,
    ssh::is_name,
};

/// From its (backdated) start to its end.
const VALIDITY: Duration = Duration::days(397);

/// A server's certificate with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// PEM: the server's certificate, then the issuing authority's. Not the root's: who trusts it has it.
    pub chain: String,
    /// PEM (PKCS #8).
    pub key: Secret,
    /// When it ends.
    pub not_after: OffsetDateTime,
}

pub(super) fn issue(
    issuing: &Authority,
    environment: &str,
    names: &[String],
    addresses: &[IpAddr],
    now: OffsetDateTime,
) -> Result<Leaf> {
    let (dns, ips) = wanted(names, addresses);
    let refuse = |what: String| Err(Error::new(Kind::Config, format!("no certificate can be made: {what}")));
    if dns.is_empty() && ips.is_empty() {
        return refuse("neither a name nor an address was given".into());
    }
    if let Some(address) = ips.iter().find(|a| !permits_address(**a)) {
        return refuse(format!("`{address}` is not a private address"));
    }
    let Some(ca) = certificate::facts(issuing.der()).filter(|ca| ca.not_after > now) else {
        let message = format!("the issuing certificate of environment `{environment}` has expired");
        return Err(Error::new(Kind::Keys, message));
    };
    if let Some(name) = dns.iter().find(|n| contains_name(&ca.excluded, n)) {
        return refuse(format!("`{name}` is a name of another environment than `{environment}`"));
    }
    if let Some(name) = dns.iter().find(|n| !is_name(n) || !contains_name(&ca.permitted, n)) {
        let zone = ca.permitted.first().map_or("internal", String::as_str);
        let message = format!("no certificate can be made: `{name}` is not a name below `{zone}`");
        // `Config`, because it is the workspace that says the name.
        return Err(Error::new(Kind::Config, message));
    }

    // The first name as it was given, for people who look at the certificate; programs read the alternative names.
    let first = names.first().map(|n| normal(n)).filter(|n| n.len() <= 64);
    let mut params = parameters(authority::named(&first.unwrap_or_else(|| format!("lap {environment}"))), now)?;
    params.not_after = ca.not_after.min(params.not_before + VALIDITY);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    for name in dns {
        let name = name.try_into().or_error(Kind::Config, || "cannot put a name into a certificate".into())?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(ips.into_iter().map(SanType::IpAddress));

    let key = authority::new_key()?;
    let chain = issuing.sign(&params, &key)? + &issuing.certificate;
    Ok(Leaf { chain, key: authority::key_pem(&key), not_after: params.not_after })
}

/// Whether a server's certificate should be made anew, and why: `chain` (PEM) is unreadable, less than a third of its
/// life is left, it has other names or addresses than wanted, or was issued by another authority than `issuing` (PEM).
/// Pure: time is an argument.
pub fn renewal_reason(
    chain: &str,
    names: &[String],
    addresses: &[IpAddr],
    issuing: &str,
    now: OffsetDateTime,
) -> Option<&'static str> {
    let blocks = certificate::blocks(chain);
    let Some((leaf, facts)) = blocks.first().and_then(|b| Some((b, certificate::facts(b)?))) else {
        return Some("it cannot be read");
    };
    let (dns, ips) = wanted(names, addresses);
    let issuer = certificate::blocks(issuing);
    let chained = certificate::split_first(chain).1.as_bytes();
    // An operator whose store has an older certificate of the same authority does not replace what a newer one signed.
    let is_kept = certificate::is_same_authority(chained, issuing.as_bytes())
        && !certificate::is_better(issuing.as_bytes(), chained, now);
    if issuer.len() != 1 || (blocks[1..] != issuer && !is_kept) || !certificate::is_signed_by(leaf, &issuer[0]) {
        return Some("its issuer changed");
    }
    if (&facts.names, &facts.addresses) != (&dns, &ips) {
        return Some("its names changed");
    }
    if now < facts.not_before {
        return Some("it is not valid yet");
    }
    is_late(&facts, now).then_some("it expires soon")
}

/// Less than a third of its life is left.
fn is_late(facts: &certificate::CertificateFacts, now: OffsetDateTime) -> bool {
    let (left, life) = (facts.not_after - now, facts.not_after - facts.not_before);
    left * 3 < life
}

/// What is wrong with the life of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Less than a third of its life is left.
    On(OffsetDateTime),
    Unreadable,
}

/// Whether less than a third of the life of a server's certificate (`chain`, PEM) is left, or it cannot be read.
pub fn ends_soon(chain: &str, now: OffsetDateTime) -> Option<Ends> {
    match certificate::blocks(chain).first().and_then(|leaf| certificate::facts(leaf)) {
        Some(facts) => is_late(&facts, now).then_some(Ends::On(facts.not_after)),
        None => Some(Ends::Unreadable),
    }
}

/// Whether a server's certificate is for these names and addresses, whoever issued it.
pub fn is_for(chain: &str, names: &[String], addresses: &[IpAddr]) -> bool {
    let facts = certificate::blocks(chain).first().and_then(|leaf| certificate::facts(leaf));
    facts.is_some_and(|facts| (facts.names, facts.addresses) == wanted(names, addresses))
}

fn wanted(names: &[String], addresses: &[IpAddr]) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    (names.iter().map(|n| normal(n)).collect(), addresses.iter().copied().collect())
}

/// Lower case, without a final dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A certificate that lap itself would not sign.
#[cfg(test)]
pub(super) fn forged(issuing: &Authority, name: &str) -> String {
    let mut params = parameters(authority::named(name), OffsetDateTime::now_utc()).unwrap();
    params.not_after = params.not_before + VALIDITY;
    params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
    let key = authority::new_key().unwrap();
    issuing.sign(&params, &key).unwrap() + &issuing.certificate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuing(now: OffsetDateTime) -> Authority {
        let key = authority::new_key().unwrap();
        let root = authority::root("office", "internal", &key, now).unwrap();
        let root = Authority::parse(&root, key).unwrap();
        let key = authority::new_key().unwrap();
        let issuing = authority::issuing("office", "test", &["prod".into()], "internal", &root, &key, now).unwrap();
        Authority::parse(&issuing, key).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn renewed_when_two_thirds_are_over_or_something_changed() {
        let now = OffsetDateTime::now_utc();
        let (ca, other) = (issuing(now), issuing(now));
        let (dns, ips) = (names(&["docker.internal", "docker.test.internal"]), ["192.168.0.10".parse().unwrap()]);
        let leaf = issue(&ca, "test", &dns, &ips, now).unwrap();
        let reason = |dns: &[String], ips: &[IpAddr], ca: &Authority, now| {
            renewal_reason(&leaf.chain, dns, ips, &ca.certificate, now)
        };
        assert_eq!(reason(&dns, &ips, &ca, now), None);
        let turned = names(&["Docker.test.internal.", "docker.internal", "docker.internal"]);
        assert_eq!(reason(&turned, &ips, &ca, now), None, "order, case and repetition do not matter");
        assert_eq!(reason(&dns, &ips, &ca, now + Duration::days(264)), None);
        assert_eq!(reason(&dns, &ips, &ca, now + Duration::days(265)), Some("it expires soon"));
        assert_eq!(reason(&dns, &ips, &ca, now - Duration::days(1)), Some("it is not valid yet"));
        assert_eq!(reason(&dns[1..], &ips, &ca, now), Some("its names changed"));
        assert_eq!(reason(&dns, &[], &ca, now), Some("its names changed"));
        assert_eq!(reason(&dns, &ips, &other, now), Some("its issuer changed"));
        assert_eq!(ends_soon(&leaf.chain, now + Duration::days(264)), None);
        assert_eq!(
            ends_soon(&leaf.chain, now + Duration::days(265)),
            Some(Ends::On(leaf.not_after.replace_nanosecond(0).unwrap()))
        );
        assert_eq!(ends_soon("", now), Some(Ends::Unreadable));
        assert_eq!(renewal_reason("", &dns, &ips, &ca.certificate, now), Some("it cannot be read"));
        assert!(renewal_reason(&leaf.chain[..100], &dns, &ips, &ca.certificate, now).is_some());
    }

    #[test]
    fn what_the_constraints_forbid_is_refused_before_it_is_signed() {
        let now = OffsetDateTime::now_utc();
        let ca = issuing(now);
        for wrong in ["example.org", "*.internal", "a b.internal", ""] {
            let error = issue(&ca, "test", &names(&[wrong]), &[], now).unwrap_err();
            assert_eq!(error.kind, Kind::Config, "{wrong}");
        }
        // The name of another environment, and one that only looks like it.
        for (name, may) in [("git.prod.internal", false), ("prod.internal", false), ("git.preprod.internal", true)] {
            assert_eq!(issue(&ca, "test", &names(&[name]), &[], now).is_ok(), may, "{name}");
        }
        assert!(issue(&ca, "test", &[], &["8.8.8.8".parse().unwrap()], now).is_err());
        assert!(issue(&ca, "test", &[], &[], now).is_err());
        let late = now + Duration::days(3651);
        assert_eq!(issue(&ca, "test", &names(&["a.internal"]), &[], late).unwrap_err().kind, Kind::Keys);
    }

    #[test]
    fn never_outlives_its_issuer_and_hides_its_key() {
        let now = OffsetDateTime::now_utc();
        let ca = issuing(now);
        let leaf = issue(&ca, "test", &[], &["fd00::1".parse().unwrap()], now + Duration::days(3600)).unwrap();
        assert!(leaf.not_after < now + Duration::days(3651));
        assert!(!format!("{leaf:?}").contains("PRIVATE"));
        assert!(leaf.key.expose().contains("PRIVATE"));
    }
}
