//! The certificate authority itself: made at first use, kept for ten years.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

use super::{
    PkiError,
    files::{self, Readers},
};

const LIFE: Duration = Duration::days(3650);

/// Certificates begin to be valid a little early: clocks of agents and server differ.
const BACKDATED: Duration = Duration::hours(1);

/// The authority of one deployment.
pub(super) struct Authority {
    dir: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority in `data_dir/pki`, made now unless it is there. Any number of processes may
    /// do so at once: all end up with the same one.
    pub(super) fn open(data_dir: &Path) -> Result<Self, PkiError> {
        let dir = data_dir.join("pki");
        files::create_private_dir(&dir)?;
        let _held = files::lock(&dir)?;
        let (certificate_path, key_path) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
        let certificate_pem = files::read(&certificate_path)?;
        let key = match files::read(&key_path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(unusable(&key_path))?,
            None if certificate_pem.is_some() => {
                return Err(PkiError::KeyLost {
                    certificate: certificate_path,
                    key: key_path,
                });
            }
            None => {
                let key = KeyPair::generate()?;
                files::replace(&key_path, &key.serialize_pem(), Readers::Owner)?;
                key
            }
        };
        let certificate_pem = match certificate_pem {
            Some(pem) => pem,
            None => {
                let pem = own_params().self_signed(&key)?.pem();
                files::replace(&certificate_path, &pem, Readers::Everyone)?;
                pem
            }
        };
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(unusable(&certificate_path))?;
        Ok(Self {
            dir,
            certificate_pem,
            issuer,
        })
    }

    /// Where the authority's files lie.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The certificate everyone trusts.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The same, in DER form.
    pub(super) fn certificate(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(unusable(&self.dir.join("ca.pem")))
    }

    /// A certificate over a new key, valid from now for `life`.
    pub(super) fn issue(
        &self,
        mut params: CertificateParams,
        life: Duration,
    ) -> Result<CertifiedKey<KeyPair>, PkiError> {
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        params.not_after = now + life;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let signing_key = KeyPair::generate()?;
        let cert = params.signed_by(&signing_key, &self.issuer)?;
        Ok(CertifiedKey { cert, signing_key })
    }
}

fn own_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "netmon CA");
    // Only end certificates below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::now_utc() - BACKDATED;
    params.not_after = OffsetDateTime::now_utc() + LIFE;
    params
}

pub(super) fn unusable<E: ToString>(path: &Path) -> impl Fn(E) -> PkiError {
    let path = path.to_owned();
    move |problem| PkiError::Unusable {
        path: path.clone(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_who_opens_it_at_once_gets_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            Authority::open(dir.path())
                .unwrap()
                .certificate_pem()
                .to_owned()
        };
        let all: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(all.iter().all(|pem| *pem == all[0]));
    }

    #[test]
    fn an_authority_interrupted_before_its_certificate_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path()).unwrap();
        let key = dir.path().join("pki/ca-key.pem");
        let before = std::fs::read(&key).unwrap();
        std::fs::remove_file(dir.path().join("pki/ca.pem")).unwrap();
        Authority::open(dir.path()).unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }

    #[test]
    fn a_lost_key_is_never_replaced_silently() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join("pki/ca-key.pem")).unwrap();
        assert!(matches!(
            Authority::open(dir.path()),
            Err(PkiError::KeyLost { .. })
        ));
    }
}
