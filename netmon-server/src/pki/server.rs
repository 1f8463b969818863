//! The server's own certificate, and the TLS settings of the QUIC listener.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    files::{self, Readers, Stamp},
};
use crate::config::Config;

const LIFE: Duration = Duration::days(90);

const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server-key.pem";

/// TLS 1.3 for agents only: a client certificate of the built-in authority is required, and ALPN
/// `netmon/1`. Makes the authority and the server's certificate at first use.
pub fn server_tls(config: &Config) -> Result<ServerConfig, PkiError> {
    ServerCertificate::open(config)?.tls()
}

/// The server's certificate, which may change while the server runs: [`Self::refresh`] is to be
/// called now and then.
pub struct ServerCertificate {
    authority: Authority,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

/// What [`ServerCertificate::refresh`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing was to be done.
    Kept,
    /// Other files lay in the directory and are in use now.
    Loaded,
    /// The certificate was at two thirds of its life, and a new one was issued.
    Renewed,
}

#[derive(Clone)]
struct Current {
    certified: Arc<CertifiedKey>,
    renew_at: OffsetDateTime,
    expires: OffsetDateTime,
    /// Of certificate and key, when they were last looked at.
    seen: [Stamp; 2],
}

impl ServerCertificate {
    /// The certificate in `data_dir/pki`, issued now if there is none that serves.
    pub fn open(config: &Config) -> Result<Arc<Self>, PkiError> {
        // Given explicitly: a process-wide default may be set twice, or not at all.
        let provider = Arc::new(ring::default_provider());
        let authority = Authority::open(&config.data_dir)?;
        let current = {
            let _held = files::lock(authority.dir())?;
            load(&authority, &provider)
                .ok()
                .filter(|current| OffsetDateTime::now_utc() < current.renew_at)
                .map_or_else(|| renew(&authority, &provider), Ok)?
        };
        Ok(Arc::new(Self {
            authority,
            provider,
            current: Mutex::new(current),
        }))
    }

    /// The settings of a listener that shows this certificate, always the newest.
    pub fn tls(self: &Arc<Self>) -> Result<ServerConfig, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate()?)?;
        let provider = Arc::clone(&self.provider);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        tls.alpn_protocols = vec![wire::ALPN.to_vec()];
        // Early data can be replayed, and a resumed session would skip the check of the agent's
        // certificate.
        tls.max_early_data_size = 0;
        tls.send_tls13_tickets = 0;
        Ok(tls)
    }

    /// When the certificate in use expires.
    pub fn expires(&self) -> OffsetDateTime {
        self.lock().expires
    }

    /// Takes up files that were replaced, and issues a new certificate at two thirds of the life of
    /// the old one. Handshakes from then on show it; connections there are go on.
    ///
    /// # Errors
    /// When new files are not usable, or none can be written: the certificate in use stays. Files
    /// that were refused once are looked at again when they have changed.
    pub fn refresh(&self, now: OffsetDateTime) -> Result<Refreshed, PkiError> {
        // Another server on the same directory may be renewing.
        let _held = files::lock(self.authority.dir())?;
        let seen = stamps(&self.authority);
        let mut loaded = Ok(Refreshed::Kept);
        if seen != self.lock().seen {
            self.lock().seen = seen;
            loaded = load(&self.authority, &self.provider).and_then(|fresh| {
                if fresh.expires <= now {
                    let path = self.authority.dir().join(CERTIFICATE);
                    return Err(unusable(&path)("it has expired"));
                }
                *self.lock() = fresh;
                Ok(Refreshed::Loaded)
            });
        }
        let due = now >= self.lock().renew_at;
        if due {
            *self.lock() = renew(&self.authority, &self.provider)?;
            return Ok(Refreshed::Renewed);
        }
        loaded
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Resolver(Arc<ServerCertificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().certified))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// What lies in the files, if it serves. The directory is locked.
fn load(authority: &Authority, provider: &CryptoProvider) -> Result<Current, PkiError> {
    let seen = stamps(authority);
    let (path, key_path) = (authority.dir().join(CERTIFICATE), authority.dir().join(KEY));
    let chain: Vec<_> = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .map_err(unusable(&path))?;
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(unusable(&key_path))?;
    let Some(certificate) = chain.first() else {
        return Err(unusable(&path)("it holds no certificate"));
    };
    let of_this_authority = {
        let root = authority.certificate()?;
        let (_, root) = X509Certificate::from_der(&root).map_err(unusable(&path))?;
        let (_, leaf) = X509Certificate::from_der(certificate).map_err(unusable(&path))?;
        leaf.verify_signature(Some(root.public_key())).is_ok()
    };
    if !of_this_authority {
        return Err(unusable(&path)("this authority has not signed it"));
    }
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(unusable(&key_path))?;
    current(certified, seen).ok_or_else(|| unusable(&path)("it cannot be parsed"))
}

/// Issues a certificate over a new key. The directory is locked.
fn renew(authority: &Authority, provider: &CryptoProvider) -> Result<Current, PkiError> {
    let mut params = CertificateParams::new([wire::SERVER_NAME.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wire::SERVER_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let issued = authority.issue(params, LIFE)?;

    // A key that does not match its certificate is noticed when loaded, and both are made anew.
    files::replace(
        &authority.dir().join(KEY),
        &issued.signing_key.serialize_pem(),
        Readers::Owner,
    )?;
    files::replace(
        &authority.dir().join(CERTIFICATE),
        &issued.cert.pem(),
        Readers::Everyone,
    )?;
    load(authority, provider)
}

fn stamps(authority: &Authority) -> [Stamp; 2] {
    [CERTIFICATE, KEY].map(|name| files::stamp(&authority.dir().join(name)))
}

fn current(certified: CertifiedKey, seen: [Stamp; 2]) -> Option<Current> {
    let (_, leaf) = X509Certificate::from_der(certified.end_entity_cert().ok()?).ok()?;
    let validity = leaf.validity();
    let (from, expires) = (
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    );
    let renew_at = from + (expires - from) * 2 / 3;
    Some(Current {
        certified: Arc::new(certified),
        renew_at,
        expires,
        seen,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open(dir: &Path) -> Arc<ServerCertificate> {
        let config = Config {
            data_dir: dir.to_owned(),
            ..Config::default()
        };
        ServerCertificate::open(&config).unwrap()
    }

    fn file(dir: &Path) -> Vec<u8> {
        std::fs::read(dir.join("pki/server.pem")).unwrap()
    }

    fn shown(certificate: &ServerCertificate) -> Vec<u8> {
        certificate.lock().certified.cert[0].to_vec()
    }

    #[test]
    fn a_certificate_in_its_first_two_thirds_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let left = open(dir.path()).lock().renew_at - OffsetDateTime::now_utc();
        assert!(
            (Duration::days(58)..Duration::days(61)).contains(&left),
            "{left}"
        );
        let before = file(dir.path());
        let certificate = open(dir.path());
        let now = OffsetDateTime::now_utc();
        assert_eq!(certificate.refresh(now).unwrap(), Refreshed::Kept);
        assert_eq!(file(dir.path()), before);
    }

    #[test]
    fn a_certificate_without_its_key_or_of_another_authority_is_issued_anew_at_the_start() {
        for lost in ["server-key.pem", "ca.pem"] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path());
            let before = file(dir.path());
            std::fs::remove_file(dir.path().join("pki").join(lost)).unwrap();
            if lost == "ca.pem" {
                std::fs::remove_file(dir.path().join("pki/ca-key.pem")).unwrap();
            }
            open(dir.path());
            assert_ne!(file(dir.path()), before, "{lost}");
        }
    }

    #[test]
    fn a_running_server_renews_at_two_thirds_and_its_neighbour_takes_that_up() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (open(dir.path()), open(dir.path()));
        let before = shown(&one);
        let due = OffsetDateTime::now_utc() + Duration::days(61);
        assert_eq!(one.refresh(due).unwrap(), Refreshed::Renewed);
        assert_ne!(shown(&one), before);
        let now = OffsetDateTime::now_utc();
        assert_eq!(other.refresh(now).unwrap(), Refreshed::Loaded);
        assert_eq!(shown(&other), shown(&one));
        assert_eq!(one.refresh(now).unwrap(), Refreshed::Kept);
    }

    #[test]
    fn broken_files_leave_the_certificate_in_use_and_are_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let certificate = open(dir.path());
        let before = shown(&certificate);
        let now = OffsetDateTime::now_utc();
        let foreign = tempfile::tempdir().unwrap();
        open(foreign.path());
        let pki = dir.path().join("pki");
        for broken in [b"-----BEGIN".to_vec(), file(foreign.path())] {
            std::fs::write(pki.join("server.pem"), broken).unwrap();
            assert!(certificate.refresh(now).is_err());
            assert_eq!(certificate.refresh(now).unwrap(), Refreshed::Kept);
            assert_eq!(shown(&certificate), before);
        }
        // When it is due, the broken file does not stand in the way.
        let due = now + Duration::days(61);
        assert_eq!(certificate.refresh(due).unwrap(), Refreshed::Renewed);
    }

    #[test]
    fn the_listener_insists_on_tls_1_3_and_the_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let tls = open(dir.path()).tls().unwrap();
        assert_eq!(tls.alpn_protocols, [wire::ALPN]);
        assert_eq!(tls.max_early_data_size, 0);
        assert_eq!(tls.send_tls13_tickets, 0);
    }
}
