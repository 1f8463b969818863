//! The agent's certificate, its key, and the CA it trusts.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use netmon_common::wire::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{RootCertStore, crypto::ring};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

/// Everything mutual TLS needs; the files are read anew for every connection, so that a renewed
/// certificate is taken up.
#[derive(Clone, Debug)]
pub struct Identity {
    folder: PathBuf,
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

    /// The TLS side of a QUIC client: TLS 1.3 by ring, the folder's CA and nothing else.
    pub fn client_crypto(&self) -> Result<QuicClientConfig, IdentityError> {
        let ca = self.read("ca.pem", |path| CertificateDer::from_pem_file(path))?;
        let chain = self.read("agent.pem", |path| {
            CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()
        })?;
        let key = self.read("agent-key.pem", |path| PrivateKeyDer::from_pem_file(path))?;
        self.client_config(ca, chain, key)
            .map_err(|source| IdentityError::Tls {
                folder: self.folder.clone(),
                source,
            })
    }

    fn client_config(
        &self,
        ca: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<QuicClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        let mut tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        Ok(QuicClientConfig::try_from(tls)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_the_way_to_make_it() {
        let result = Identity::new(Path::new("/nonexistent")).client_crypto();
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
