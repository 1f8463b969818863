//! The three places and the two cables between them.

use anyhow::Result;
use netmon_lab::{
    Namespace,
    link::{End, Mac, add_address, ip_line, veth},
};

use super::Site;

/// The interface the agent watches.
pub const INTERFACE: &str = "nm-a";
/// Its address, and the one of the peer behind it.
pub(super) const HERE: &str = "198.18.0.1";
pub(super) const THERE: &str = "198.18.0.2";
/// The agent's end of the way to the server.
const UPLINK: &str = "nm-up";
const SERVER: &str = "198.18.1.1";

/// Where everybody is.
pub(super) struct Places {
    pub agent: Namespace,
    pub server: Namespace,
    pub peer: Namespace,
}

impl Places {
    /// Makes them and lays the cables.
    pub fn new() -> Result<Self> {
        let [agent, server, peer] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        cable(
            (&agent, UPLINK, "198.18.1.2"),
            (&server, "nm-srv", SERVER),
            1,
        )?;
        cable((&agent, INTERFACE, HERE), (&peer, "nm-b", THERE), 3)?;
        Ok(Self {
            agent,
            server,
            peer,
        })
    }
}

impl Site {
    /// Takes the way to the server down or up.
    pub fn uplink(&self, state: &str) -> Result<()> {
        ip_line(&self.place, &["link", "set", UPLINK, state])
    }

    /// Where agents reach the server.
    pub fn server_address(&self) -> String {
        server_address()
    }
}

pub(super) fn server_address() -> String {
    format!("{SERVER}:8082")
}

fn cable(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str), number: u8) -> Result<()> {
    let end = |(place, name, _), mac| End {
        place,
        name,
        mac: Mac::local(mac),
    };
    veth(end(a, number), end(b, number + 1))?;
    for (place, name, address) in [a, b] {
        add_address(place, name, &format!("{address}/24"))?;
    }
    Ok(())
}
