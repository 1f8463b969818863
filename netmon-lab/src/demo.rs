//! A small network that exists only to have NTP traffic to look at.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Namespace, Relay, chrony,
    link::{self, End, Mac},
    wait_until,
};

/// The host's end of the client's cable: what an agent should watch.
pub const CLIENT_SIDE: &str = "nm-demo-c";
/// The host's end of the server's cable. It carries the same packets, earlier or later.
pub const SERVER_SIDE: &str = "nm-demo-s";

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const SERVER_MAC: Mac = Mac::local(1);
const CLIENT_MAC: Mac = Mac::local(2);
const SERVER_STRATUM: u8 = 3;

/// What may differ from one demonstration to the next.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Delay from the client to the server.
    pub to_server: Duration,
    /// Delay from the server to the client.
    pub to_client: Duration,
    /// UDP port of the server.
    pub port: u16,
    /// Options of the client's `server` line in chrony.conf.
    pub client_options: String,
}

impl Default for DemoOptions {
    /// One exchange a second, 3 ms there and 7 ms back.
    fn default() -> Self {
        Self {
            to_server: Duration::from_millis(3),
            to_client: Duration::from_millis(7),
            port: 123,
            client_options: "minpoll 0 maxpoll 0 iburst".to_owned(),
        }
    }
}

/// An NTP server (198.18.0.1) and a client (198.18.0.2) in two unnamed namespaces, each cabled to
/// the host, joined there by a [`Relay`]. The host needs neither bridge, address nor setting.
#[derive(Debug)]
pub struct DemoNet {
    host: Namespace,
    // Declared in the order in which they end.
    client: chrony::Client,
    server: chrony::Server,
    relay: Relay,
    client_namespace: Namespace,
    server_namespace: Namespace,
}

impl DemoNet {
    /// Builds the network with its host ends in `host`. `directory` must exist; chrony's files go
    /// there.
    ///
    /// # Errors
    /// Without root, without iproute2 or chrony, or while another demonstration runs in `host`.
    pub fn start(host: &Namespace, directory: &Path, options: &DemoOptions) -> Result<Self> {
        let client_namespace = Namespace::new()?;
        let server_namespace = Namespace::new()?;
        lay_cables(host, &client_namespace, &server_namespace)?;
        let relay = Relay::start(
            host,
            CLIENT_SIDE,
            SERVER_SIDE,
            options.to_server,
            options.to_client,
        )?;
        let server = chrony::Server::start(
            &server_namespace,
            &directory.join("chrony-server"),
            options.port,
            SERVER_STRATUM,
        )?;
        let client = chrony::Client::start(
            &client_namespace,
            &directory.join("chrony-client"),
            IpAddr::V4(SERVER),
            &format!("port {} {}", options.port, options.client_options),
        )?;
        Ok(Self {
            host: host.clone(),
            client,
            server,
            relay,
            client_namespace,
            server_namespace,
        })
    }

    /// The chrony that asks.
    #[must_use]
    pub fn client(&self) -> &chrony::Client {
        &self.client
    }

    /// The chrony that answers.
    #[must_use]
    pub fn server(&self) -> &chrony::Server {
        &self.server
    }

    /// The cable between them.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Where the client lives.
    #[must_use]
    pub fn client_namespace(&self) -> &Namespace {
        &self.client_namespace
    }

    /// Where the server lives.
    #[must_use]
    pub fn server_namespace(&self) -> &Namespace {
        &self.server_namespace
    }
}

impl Drop for DemoNet {
    fn drop(&mut self) {
        // The cables end with their namespaces, only some milliseconds later.
        for end in [CLIENT_SIDE, SERVER_SIDE] {
            let _ = link::delete(&self.host, end);
        }
    }
}

fn lay_cables(host: &Namespace, client: &Namespace, server: &Namespace) -> Result<()> {
    let sides = [
        (CLIENT_SIDE, client, CLIENT_MAC, CLIENT, SERVER, SERVER_MAC),
        (SERVER_SIDE, server, SERVER_MAC, SERVER, CLIENT, CLIENT_MAC),
    ];
    for (number, (side, place, mac, own, other, other_mac)) in (0x11..).zip(sides) {
        wait_until_free(host, side)?;
        let at_host = End {
            place: host,
            name: side,
            mac: Mac::local(number),
        };
        let inside = End {
            place,
            name: "eth0",
            mac,
        };
        link::veth(at_host, inside)?;
        link::add_address(place, "eth0", &format!("{own}/24"))?;
        link::add_neighbour(place, "eth0", IpAddr::V4(other), other_mac)?;
    }
    Ok(())
}

/// The kernel takes the cables of a demonstration that was killed away in the background.
fn wait_until_free(host: &Namespace, name: &str) -> Result<()> {
    let path = Path::new("/sys/class/net").join(name);
    wait_until(Duration::from_secs(5), "the name to become free", || {
        let taken = host.run_inside(|| Ok(path.exists())).unwrap_or(true);
        (!taken).then_some(())
    })
    .with_context(|| {
        format!(
            "the interface {name} exists: another demonstration runs on this host, stop it first"
        )
    })
}
