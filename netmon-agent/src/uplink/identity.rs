//! The agent's certificate, its key, and the CA it trusts.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use netmon_common::wire::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::ring};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const FILES: [&str; 3] = ["ca.pem", "agent.pem", "agent-key.pem"];

/// Everything mutual TLS needs; the files are read anew for every connection, so that a renewed
/// certificate is taken up.
#[derive(Clone, Debug)]
pub struct Identity {
    folder: PathBuf,
}

/// Tells one state of the files from another without reading them: inode, length and time of the
/// last change of each; none for one that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([Option<(u64, u64, i64, i64)>; FILES.len()]);

/// An identity as it was read.
pub struct Loaded {
    /// The TLS side of a QUIC client.
    pub crypto: QuicClientConfig,
    /// Of the files it came from.
    pub fingerprint: Fingerprint,
    /// When the first of its certificates expires, seconds since 1970.
    pub expires_unix_s: i64,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Missing, unreadable or not PEM.
    #[error(
        "cannot read {path}: {source}; `netmon-server issue-agent NAME --out {folder}` makes it"
    )]
    File {
        /// Which file.
        path: PathBuf,
        /// In which folder.
        folder: PathBuf,
        /// Why.
        source: PemError,
    },
    /// Readable, but certificate and key do not fit together.
    #[error("the certificate in {folder} is not usable: {source}")]
    Tls {
        /// In which folder.
        folder: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is wrong with a PEM file.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// It is not PEM, or not of the kind expected.
    #[error("{0}")]
    Pem(pem::Error),
}

impl From<pem::Error> for PemError {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::Io(error) => Self::Io(error),
            other => Self::Pem(other),
        }
    }
}

impl Identity {
    /// The identity in a folder with `ca.pem`, `agent.pem` and `agent-key.pem`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Reads the files: TLS 1.3 by ring, the folder's CA and nothing else.
    pub fn load(&self) -> Result<Loaded, IdentityError> {
        // Before reading: what changes meanwhile is read again later.
        let fingerprint = self.fingerprint();
        let [ca_file, chain_file, key_file] = FILES;
        let ca = self.read(ca_file, |path| CertificateDer::from_pem_file(path))?;
        let chain = self.read(chain_file, |path| {
            CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()
        })?;
        let key = self.read(key_file, |path| PrivateKeyDer::from_pem_file(path))?;
        let load = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let expires_unix_s = first_expiry(chain.iter().chain([&ca]))?;
            let crypto = QuicClientConfig::try_from(tls(ca, chain, key)?)?;
            Ok(Loaded {
                crypto,
                fingerprint,
                expires_unix_s,
            })
        };
        load().map_err(|source| IdentityError::Tls {
            folder: self.folder.clone(),
            source,
        })
    }

    /// The state of the files now.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(FILES.map(|name| {
            let file = fs::metadata(self.folder.join(name)).ok()?;
            Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        }))
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&Path) -> Result<T, pem::Error>,
    ) -> Result<T, IdentityError> {
        let path = self.folder.join(name);
        parse(&path).map_err(|source| IdentityError::File {
            path,
            folder: self.folder.clone(),
            source: source.into(),
        })
    }
}

fn tls(
    ca: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    speak_our_way(&mut tls);
    Ok(tls)
}

fn speak_our_way(tls: &mut ClientConfig) {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Early data can be replayed, and a resumed session would show no certificate.
    tls.enable_early_data = false;
    tls.resumption = Resumption::disabled();
}

fn first_expiry<'a>(
    certificates: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
    let mut first = i64::MAX;
    for certificate in certificates {
        let (_, parsed) = X509Certificate::from_der(certificate)?;
        first = first.min(parsed.validity().not_after.timestamp());
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_before_the_handshake_is_done() {
        let provider = Arc::new(ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        tls.enable_early_data = true;
        speak_our_way(&mut tls);
        assert!(!tls.enable_early_data);
        assert_eq!(tls.alpn_protocols, [ALPN]);
    }

    #[test]
    fn a_missing_file_is_named_with_the_way_to_make_it() {
        let result = Identity::new(Path::new("/nonexistent")).load();
        let text = result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            text.contains("/nonexistent/ca.pem") && text.contains("issue-agent"),
            "{text}"
        );
    }
}
