//! A certificate authority of the test's own.

use std::sync::Arc;

use netmon_common::wire::SERVER_NAME;
use netmon_server::agent_id::AgentId;
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::ring::default_provider,
    server::WebPkiClientVerifier, version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate with its key.
pub struct Identity(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub fn agent(&self, agent: AgentId) -> Identity {
        let name = format!("netmon://agent/{agent}");
        self.issue(
            SanType::URI(name.try_into().unwrap()),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// Of ours, and names no agent.
    pub fn nobody(&self) -> Identity {
        let name = SanType::DnsName("somebody".try_into().unwrap());
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub fn server_tls(&self) -> ServerConfig {
        let name = SanType::DnsName(SERVER_NAME.try_into().unwrap());
        let Identity(certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots()),
            Arc::clone(&provider),
        );
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }

    /// How to connect to a server of this authority.
    pub fn client(&self, identity: Option<Identity>, alpn: &[&[u8]]) -> quinn::ClientConfig {
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(self.roots());
        let mut tls = match identity {
            Some(Identity(certificate, key)) => {
                tls.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    /// A client that resumes sessions and sends early data wherever the server lets it.
    pub fn eager_client(&self, Identity(certificate, key): Identity) -> quinn::ClientConfig {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        tls.alpn_protocols = vec![netmon_common::wire::ALPN.to_vec()];
        tls.enable_early_data = true;
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    fn issue(&self, name: SanType, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Identity(certificate.der().clone(), key)
    }
}
