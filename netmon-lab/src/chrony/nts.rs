//! What a server of Network Time Security (RFC 8915) needs besides: a certificate.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};

/// A certificate signed by itself, in PEM: clients are given it as the one that they trust.
#[derive(Clone, Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Writes a certificate for the address and its key into `directory`, which exists.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn make(directory: &Path, address: IpAddr) -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.subject_alt_names = vec![SanType::IpAddress(address)];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = parameters
            .self_signed(&key)
            .context("cannot make a certificate")?;
        let made = Self {
            certificate: directory.join("nts.pem"),
            key: directory.join("nts-key.pem"),
        };
        for (path, text) in [
            (&made.certificate, certificate.pem()),
            (&made.key, key.serialize_pem()),
        ] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(made)
    }

    /// Lines of chrony.conf(5) for the server.
    #[must_use]
    pub fn server_settings(&self) -> String {
        format!(
            "ntsservercert {}\nntsserverkey {}\n",
            self.certificate.display(),
            self.key.display()
        )
    }

    /// Lines of chrony.conf(5) for its clients.
    #[must_use]
    pub fn client_settings(&self) -> String {
        format!("ntstrustedcerts {}\n", self.certificate.display())
    }
}
