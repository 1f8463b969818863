//! Links between namespaces, their addresses and neighbours, by iproute2.

use std::{fmt, fs, net::IpAddr, path::Path};

use anyhow::Result;

use crate::{Namespace, run};

/// A link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered unicast address; `number` tells one from the other.
    #[must_use]
    pub const fn local(number: u8) -> Self {
        Self([0x02, 0x6e, 0x6d, 0, 0, number])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where the interface shall be.
    pub place: &'a Namespace,
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Its link-layer address.
    pub mac: Mac,
}

/// Lays a cable between two places and brings both ends up. No end sends a packet of its own
/// accord: there is no IPv6 link-local address, hence no router solicitation and no duplicate
/// address detection.
///
/// # Errors
/// When `ip` is missing or refuses, for instance because a name is taken.
pub fn veth(a: End<'_>, b: End<'_>) -> Result<()> {
    let mut ip = a.place.command("ip");
    ip.args(["link", "add", a.name, "address", &a.mac.to_string()])
        .args(["type", "veth", "peer", "name", b.name])
        .args(["address", &b.mac.to_string(), "netns"])
        .arg(b.place.path());
    run(&mut ip)?;
    for end in [a, b] {
        silence(end.place, end.name)?;
    }
    for end in [a, b] {
        ip_line(end.place, &["link", "set", end.name, "up"])?;
    }
    Ok(())
}

/// Gives an interface an address with its prefix length, as in `198.18.0.1/24`. Duplicate address
/// detection is left out.
///
/// # Errors
/// When `ip` refuses.
pub fn add_address(place: &Namespace, interface: &str, address: &str) -> Result<()> {
    let mut line = vec!["address", "add", address, "dev", interface];
    if address.contains(':') {
        line.push("nodad");
    }
    ip_line(place, &line)
}

/// Tells an interface the link-layer address of a neighbour for good, so that neither ARP nor
/// neighbour discovery is needed.
///
/// # Errors
/// When `ip` refuses.
pub fn add_neighbour(place: &Namespace, interface: &str, address: IpAddr, mac: Mac) -> Result<()> {
    let (address, mac) = (address.to_string(), mac.to_string());
    let line = [
        "neighbour",
        "replace",
        &address,
        "lladdr",
        &mac,
        "nud",
        "permanent",
        "dev",
        interface,
    ];
    ip_line(place, &line)
}

/// Removes an interface, and with it the other end of its cable.
///
/// # Errors
/// When `ip` refuses.
pub fn delete(place: &Namespace, interface: &str) -> Result<()> {
    ip_line(place, &["link", "delete", interface])
}

/// Runs `ip` with the given words inside `place`.
///
/// # Errors
/// When it does not succeed.
pub fn ip_line(place: &Namespace, words: &[&str]) -> Result<()> {
    run(place.command("ip").args(words)).map(drop)
}

fn silence(place: &Namespace, interface: &str) -> Result<()> {
    place.run_inside(|| {
        let settings = Path::new("/proc/sys/net/ipv6/conf").join(interface);
        for setting in ["accept_ra", "autoconf", "router_solicitations"] {
            // Read-only in many containers, and absent without IPv6: what counts is the
            // next step.
            let _ = fs::write(settings.join(setting), "0");
        }
        Ok(())
    })?;
    if Path::new("/proc/sys/net/ipv6").exists() {
        ip_line(place, &["link", "set", interface, "addrgenmode", "none"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_addresses_are_written_as_ip_reads_them() {
        assert_eq!(Mac::local(0x1f).to_string(), "02:6e:6d:00:00:1f");
    }
}
