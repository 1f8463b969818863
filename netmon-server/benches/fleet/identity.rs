//! Certificates of simulated agents, issued by the server's own authority.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use netmon_common::wire::{ALPN, MAX_CONTROL_BYTES};
use netmon_server::{agent_id::AgentId, pki};
use quinn::{
    AckFrequencyConfig, ClientConfig, MtuDiscoveryConfig, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use rustls::{RootCertStore, client::Resumption, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// One agent's id and how it connects.
#[derive(Clone)]
pub struct Identity {
    pub agent: AgentId,
    pub client: ClientConfig,
}

/// Issues so many identities into files below `directory`, by the authority in `data_dir`; `packet`:
/// the longest UDP payload they try, in octets.
pub fn issue(
    data_dir: &Path,
    directory: &Path,
    count: usize,
    packet: u16,
) -> Result<Vec<Identity>> {
    let issue = |index: usize| {
        let folder = directory.join(format!("agent-{index}"));
        let agent = pki::issue_agent(data_dir, &format!("simulated {index}"), &folder)?;
        let client = client_config(&folder, packet).context("cannot use an issued certificate")?;
        Ok(Identity { agent, client })
    };
    (0..count).map(issue).collect()
}

/// As netmon-agent/src/uplink/{identity,transport}.rs.
fn client_config(folder: &Path, packet: u16) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let chain = vec![CertificateDer::from_pem_file(folder.join("agent.pem"))?];
    let key = PrivateKeyDer::from_pem_file(folder.join("agent-key.pem"))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();

    let mut transport = TransportConfig::default();
    let window = VarInt::from_u32(MAX_CONTROL_BYTES as u32);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(8));
    let mut path_mtu = MtuDiscoveryConfig::default();
    path_mtu.upper_bound(packet);
    transport
        .mtu_discovery_config(Some(path_mtu))
        .ack_frequency_config(Some(acknowledgements))
        .keep_alive_interval(Some(Duration::from_secs(3)))
        .max_idle_timeout(Some(Duration::from_secs(12).try_into()?))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(2 << 20)
        .datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
