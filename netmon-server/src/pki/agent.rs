//! Identities of agents: issued to a directory, recognised in a certificate.

use std::{io, path::Path};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    PkiError,
    authority::Authority,
    files::{self, Readers},
};
use crate::agent_id::AgentId;

/// What an agent's certificate names: this, then its id.
const URI_PREFIX: &str = "netmon://agent/";

const LIFE: Duration = Duration::days(365);

/// Makes a new identity for the agent called `alias` and writes `ca.pem`, `agent.pem` and
/// `agent-key.pem` into the directory `out`.
///
/// Makes the authority too if there is none yet. Fails when `out` already holds a key.
pub fn issue_agent(data_dir: &Path, alias: &str, out: &Path) -> Result<AgentId, PkiError> {
    let printable = alias.chars().all(|c| !c.is_control());
    if !printable || alias.trim().is_empty() || alias.chars().count() > 64 {
        return Err(PkiError::Alias(alias.to_owned()));
    }
    let authority = Authority::open(data_dir)?;
    let id = AgentId::random();
    let issued = authority.issue(params(id, alias)?, LIFE)?;

    std::fs::create_dir_all(out).map_err(files::failed("create", out))?;
    let key = out.join("agent-key.pem");
    files::create(&key, &issued.signing_key.serialize_pem(), Readers::Owner).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => PkiError::IdentityExists(key.clone()),
            _ => files::failed("write", &key)(error),
        }
    })?;
    files::replace(
        &out.join("ca.pem"),
        authority.certificate_pem(),
        Readers::Everyone,
    )?;
    files::replace(
        &out.join("agent.pem"),
        &issued.cert.pem(),
        Readers::Everyone,
    )?;
    Ok(id)
}

/// Gives the agent whose identity lies in the directory `out` a new certificate over a new key, for
/// the same id and name, valid for a year from now. An agent that runs takes it up by itself.
///
/// `agent.pem` must be of this authority and may have expired; the old key is not needed.
pub fn renew_agent(data_dir: &Path, out: &Path) -> Result<AgentId, PkiError> {
    let path = out.join("agent.pem");
    let refused = |problem: String| PkiError::Renewal {
        path: path.clone(),
        problem,
    };
    let old = CertificateDer::from_pem_file(&path).map_err(|error| refused(error.to_string()))?;
    let authority = Authority::open(data_dir)?;
    let (id, alias) = {
        let root = authority.certificate()?;
        let parse = |der| X509Certificate::from_der(der).map_err(|e| refused(e.to_string()));
        let ((_, root), (_, leaf)) = (parse(&root)?, parse(&old)?);
        leaf.verify_signature(Some(root.public_key()))
            .map_err(|_| refused("this authority has not signed it".to_owned()))?;
        let alias = leaf.subject().iter_common_name().next();
        let alias = alias.and_then(|name| name.as_str().ok()).unwrap_or("");
        (agent_id_of(&old)?, alias.to_owned())
    };
    let issued = authority.issue(params(id, &alias)?, LIFE)?;
    // An agent that looks in between finds a pair that does not match, and looks again.
    let key = issued.signing_key.serialize_pem();
    files::replace(&out.join("agent-key.pem"), &key, Readers::Owner)?;
    files::replace(&path, &issued.cert.pem(), Readers::Everyone)?;
    Ok(id)
}

fn params(id: AgentId, alias: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, alias);
    params.subject_alt_names = vec![SanType::URI(format!("{URI_PREFIX}{id}").try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// Which agent a certificate is for: the one `netmon://agent/…` URI among its alternative names.
///
/// Says nothing about who signed it; TLS has checked that before.
pub fn agent_id_of(certificate: &CertificateDer<'_>) -> Result<AgentId, PkiError> {
    let no_agent = |problem: &str| PkiError::NoAgent(problem.to_owned());
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| no_agent("it is not an X.509 certificate"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| no_agent("its alternative names cannot be read"))?
        .ok_or_else(|| no_agent("it has no alternative names"))?;
    let mut ids = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(URI_PREFIX),
            _ => None,
        });
    match (ids.next(), ids.next()) {
        (Some(id), None) => id
            .parse()
            .map_err(|error| PkiError::NoAgent(format!("{error}"))),
        (None, _) => Err(no_agent(
            "none of its alternative names starts with netmon://agent/",
        )),
        (Some(_), Some(_)) => Err(no_agent("it names several")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_issued_certificate_names_its_agent() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("identity");
        let id = issue_agent(dir.path(), "北京-01", &out).unwrap();
        let certificate = CertificateDer::from_pem_file(out.join("agent.pem")).unwrap();
        assert_eq!(agent_id_of(&certificate).unwrap(), id);
        let key = std::fs::metadata(out.join("agent-key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_identity_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        issue_agent(dir.path(), "a", dir.path()).unwrap();
        let again = issue_agent(dir.path(), "a", dir.path());
        assert!(
            matches!(again, Err(PkiError::IdentityExists(_))),
            "{again:?}"
        );
    }

    #[test]
    fn a_renewed_certificate_is_the_same_agents_and_another_authoritys_is_not_renewed() {
        let (dir, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let out = dir.path().join("identity");
        let id = issue_agent(dir.path(), "北京-01", &out).unwrap();
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        let (certificate, key) = (read("agent.pem"), read("agent-key.pem"));
        let refused = renew_agent(foreign.path(), &out);
        assert!(
            matches!(refused, Err(PkiError::Renewal { .. })),
            "{refused:?}"
        );
        assert_eq!(renew_agent(dir.path(), &out).unwrap(), id);
        assert_ne!(read("agent.pem"), certificate);
        assert_ne!(read("agent-key.pem"), key);
        let renewed = CertificateDer::from_pem_file(out.join("agent.pem")).unwrap();
        assert_eq!(agent_id_of(&renewed).unwrap(), id);
        let (_, renewed) = X509Certificate::from_der(&renewed).unwrap();
        assert_eq!(renewed.subject().to_string(), "CN=北京-01");
    }

    #[test]
    fn an_alias_that_fits_no_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for alias in ["", " ", "a\nb", &"x".repeat(65)] {
            let refused = issue_agent(dir.path(), alias, dir.path());
            assert!(
                matches!(refused, Err(PkiError::Alias(_))),
                "{alias:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_certificate_that_names_no_single_agent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let uri = |text: &str| SanType::URI(text.to_owned().try_into().unwrap());
        let one = "netmon://agent/0000000000000001";
        for names in [
            vec![],
            vec![SanType::DnsName(
                "netmon-server".to_owned().try_into().unwrap(),
            )],
            vec![uri("netmon://agent/1")],
            vec![uri("netmon://agent/ffffffffffffffff")],
            vec![uri(one), uri(one)],
        ] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names;
            let issued = authority.issue(params, LIFE).unwrap();
            assert!(agent_id_of(issued.cert.der()).is_err());
        }
        assert!(agent_id_of(&CertificateDer::from(b"garbage".to_vec())).is_err());
    }
}
