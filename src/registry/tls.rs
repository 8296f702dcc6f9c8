//! TLS towards a registry: it must show a certificate that the environment's own authority signed. Another environment's is
//! not enough: test cannot pretend to be production.

use std::sync::Arc;

use lap_base::error::{Error, Kind, OrError, Result};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};

/// Trusts the certificates of this PEM text, and nothing else.
///
/// # Errors
/// There is none in it, or one is damaged.
pub fn trusting(pem: &str) -> Result<Arc<ClientConfig>> {
    let what = || "cannot read the authority's certificate".to_owned();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.or_error(Kind::Keys, what)?).or_error(Kind::Keys, what)?;
    }
    if roots.is_empty() {
        return Err(Error::new(Kind::Keys, format!("{}: there is none", what())));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .or_error(Kind::Other, || "cannot set up TLS".into())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_damaged_authority_is_refused() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(trusting(pem).unwrap_err().kind, Kind::Keys, "{pem}");
        }
    }
}
