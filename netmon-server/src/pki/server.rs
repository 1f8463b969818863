//! The server's own certificate, and the TLS settings of the QUIC listener.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration as StdDuration, Instant},
};

use netmon_common::wire;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    PkiError,
    authority::{Authority, unusable},
    files::{self, Readers},
};
use crate::config::Config;

const LIFE: Duration = Duration::days(90);

/// After a renewal that failed (a full disk), the next one is tried this much later.
const RETRY: StdDuration = StdDuration::from_secs(60);

/// TLS 1.3 for agents only: a client certificate of the built-in authority is required, and ALPN
/// `netmon/1`. Makes the authority and the server's certificate at first use.
pub fn server_tls(config: &Config) -> Result<ServerConfig, PkiError> {
    // Given explicitly: a process-wide default may be set twice, or not at all.
    let provider = Arc::new(ring::default_provider());
    let authority = Authority::open(&config.data_dir)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()?)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let certificate = Renewing::open(authority, Arc::clone(&provider))?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificate));
    tls.alpn_protocols = vec![wire::ALPN.to_vec()];
    // A resumed session would skip the check of the agent's certificate.
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

/// The server's certificate, replaced at two thirds of its life, also while the server runs.
struct Renewing {
    authority: Authority,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    renew_at: OffsetDateTime,
    tried: Option<Instant>,
}

impl Renewing {
    fn open(authority: Authority, provider: Arc<CryptoProvider>) -> Result<Self, PkiError> {
        let current = load(&authority, &provider)
            .filter(|current| OffsetDateTime::now_utc() < current.renew_at)
            .map_or_else(|| renew(&authority, &provider), Ok)?;
        Ok(Self {
            authority,
            provider,
            current: Mutex::new(current),
        })
    }
}

impl ResolvesServerCert for Renewing {
    // Writes two small files once in sixty days, in the middle of a handshake: not worth a task.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self
            .current
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let due = OffsetDateTime::now_utc() >= current.renew_at;
        if due && current.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
            match renew(&self.authority, &self.provider) {
                Ok(fresh) => *current = fresh,
                Err(error) => {
                    tracing::error!(%error, "the server's certificate could not be renewed");
                    current.tried = Some(Instant::now());
                }
            }
        }
        Some(Arc::clone(&current.certified))
    }
}

impl std::fmt::Debug for Renewing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewing")
    }
}

/// What lies in the files, or none if it is missing, broken or of another authority: all of that
/// is repaired by issuing anew.
fn load(authority: &Authority, provider: &CryptoProvider) -> Option<Current> {
    let (certificate_path, key_path) = paths(authority.dir());
    let certificate = CertificateDer::from_pem_file(certificate_path).ok()?;
    let key = PrivateKeyDer::from_pem_file(key_path).ok()?;
    let of_this_authority = {
        let root = authority.certificate().ok()?;
        let (_, root) = X509Certificate::from_der(&root).ok()?;
        let (_, leaf) = X509Certificate::from_der(&certificate).ok()?;
        leaf.verify_signature(Some(root.public_key())).is_ok()
    };
    let certified = CertifiedKey::from_der(vec![certificate], key, provider).ok()?;
    of_this_authority.then(|| current(certified))?
}

fn renew(authority: &Authority, provider: &CryptoProvider) -> Result<Current, PkiError> {
    let mut params = CertificateParams::new([wire::SERVER_NAME.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wire::SERVER_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let issued = authority.issue(params, LIFE)?;

    let (certificate_path, key_path) = paths(authority.dir());
    // A key that does not match its certificate is noticed when loaded, and both are made anew.
    files::replace(
        &key_path,
        &issued.signing_key.serialize_pem(),
        Readers::Owner,
    )?;
    files::replace(&certificate_path, &issued.cert.pem(), Readers::Everyone)?;
    let key = PrivateKeyDer::from_pem_slice(issued.signing_key.serialize_pem().as_bytes())
        .map_err(unusable(&key_path))?;
    let certified = CertifiedKey::from_der(vec![issued.cert.der().clone()], key, provider)?;
    current(certified).ok_or_else(|| unusable(&certificate_path)("it cannot be parsed"))
}

fn paths(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (dir.join("server.pem"), dir.join("server-key.pem"))
}

fn current(certified: CertifiedKey) -> Option<Current> {
    let (_, leaf) = X509Certificate::from_der(certified.end_entity_cert().ok()?).ok()?;
    let validity = leaf.validity();
    let (from, until) = (
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    );
    let renew_at = from + (until - from) * 2 / 3;
    Some(Current {
        certified: Arc::new(certified),
        renew_at,
        tried: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Renewing {
        let provider = Arc::new(ring::default_provider());
        Renewing::open(Authority::open(dir).unwrap(), provider).unwrap()
    }

    fn certificate(dir: &Path) -> Vec<u8> {
        std::fs::read(dir.join("pki/server.pem")).unwrap()
    }

    #[test]
    fn a_certificate_in_its_first_two_thirds_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let left = open(dir.path()).current.lock().unwrap().renew_at - OffsetDateTime::now_utc();
        assert!(
            (Duration::days(58)..Duration::days(61)).contains(&left),
            "{left}"
        );
        let before = certificate(dir.path());
        open(dir.path());
        assert_eq!(certificate(dir.path()), before);
    }

    #[test]
    fn a_certificate_without_its_key_or_of_another_authority_is_issued_anew() {
        for lost in ["server-key.pem", "ca.pem"] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path());
            let before = certificate(dir.path());
            std::fs::remove_file(dir.path().join("pki").join(lost)).unwrap();
            if lost == "ca.pem" {
                std::fs::remove_file(dir.path().join("pki/ca-key.pem")).unwrap();
            }
            open(dir.path());
            assert_ne!(certificate(dir.path()), before, "{lost}");
        }
    }

    #[test]
    fn the_listener_insists_on_tls_1_3_and_the_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let tls = server_tls(&config).unwrap();
        assert_eq!(tls.alpn_protocols, [wire::ALPN]);
        assert_eq!(tls.max_early_data_size, 0);
    }
}
