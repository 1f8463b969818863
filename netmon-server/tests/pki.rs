//! Certificates from the built-in authority, as TLS sees them.

use std::{path::Path, process::Command, sync::Arc};

use netmon_common::wire;
use netmon_server::{
    agent_id::AgentId,
    config::Config,
    pki::{agent_id_of, issue_agent, server_tls},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection, crypto::ring, version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

fn server(data_dir: &Path) -> ServerConnection {
    let config = Config {
        data_dir: data_dir.to_owned(),
        ..Config::default()
    };
    ServerConnection::new(Arc::new(server_tls(&config).unwrap())).unwrap()
}

/// A client that trusts the authority in `trusted` and shows the identity in `identity`.
fn client(trusted: &Path, identity: Option<&Path>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(trusted.join("ca.pem")).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(dir) => {
            let certificate = CertificateDer::from_pem_file(dir.join("agent.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(dir.join("agent-key.pem")).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![wire::ALPN.to_vec()];
    ClientConnection::new(Arc::new(config), wire::SERVER_NAME.try_into().unwrap()).unwrap()
}

/// Passes what each side writes to the other until both are done; the first error ends it.
fn shake_hands(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn an_issued_agent_is_let_in_and_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("identity");
    let id = issue_agent(dir.path(), "lab", &out).unwrap();
    let (mut client, mut server) = (client(&out, Some(&out)), server(dir.path()));
    shake_hands(&mut client, &mut server).unwrap();
    assert_eq!(
        agent_id_of(&server.peer_certificates().unwrap()[0]).unwrap(),
        id
    );
    assert_eq!(server.alpn_protocol(), Some(wire::ALPN));
}

#[test]
fn a_stranger_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (trusted, foreign) = (ours.path().join("identity"), theirs.path().join("identity"));
    issue_agent(ours.path(), "ours", &trusted).unwrap();
    issue_agent(theirs.path(), "theirs", &foreign).unwrap();
    for identity in [None, Some(foreign.as_path())] {
        let refused =
            shake_hands(&mut client(&trusted, identity), &mut server(ours.path())).unwrap_err();
        let expected = matches!(
            refused,
            rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)
        );
        assert!(expected, "{refused}");
    }
}

#[test]
fn an_agent_does_not_talk_to_another_deployments_server() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let identity = ours.path().join("identity");
    issue_agent(ours.path(), "ours", &identity).unwrap();
    let refused = shake_hands(
        &mut client(&identity, Some(&identity)),
        &mut server(theirs.path()),
    );
    assert!(
        matches!(refused, Err(rustls::Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[test]
fn the_servers_certificate_is_not_an_agents() {
    let dir = tempfile::tempdir().unwrap();
    let identity = dir.path().join("identity");
    issue_agent(dir.path(), "lab", &identity).unwrap();
    let mut server = server(dir.path());
    let pki = dir.path().join("pki");
    std::fs::copy(pki.join("server.pem"), identity.join("agent.pem")).unwrap();
    std::fs::copy(pki.join("server-key.pem"), identity.join("agent-key.pem")).unwrap();
    let refused = shake_hands(&mut client(&identity, Some(&identity)), &mut server);
    assert!(
        matches!(refused, Err(rustls::Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[test]
fn the_command_prints_the_agents_id() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("identity");
    let issued = Command::new(env!("CARGO_BIN_EXE_netmon-server"))
        .args(["issue-agent", "lab", "--data-dir"])
        .arg(dir.path())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        issued.status.success(),
        "{}",
        String::from_utf8_lossy(&issued.stderr)
    );
    let id: AgentId = String::from_utf8(issued.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let certificate = CertificateDer::from_pem_file(out.join("agent.pem")).unwrap();
    assert_eq!(agent_id_of(&certificate).unwrap(), id);
}
