//! The host's own addresses: they say at which end of an exchange the sensor is.

use std::{collections::HashSet, net::IpAddr};

use nix::ifaddrs::getifaddrs;

use super::work::Work;
use crate::{clock::Now, ntp::Place};

/// How often they are looked at.
const EVERY_NS: u64 = 10_000_000_000;

impl Work {
    /// Looks at the addresses of all watched namespaces, if it is time again.
    pub(super) fn look_at_addresses(&mut self, now: Now) {
        let looked = self.looked_at_addresses_ns;
        if looked.is_some_and(|looked_ns| now.monotonic_ns.saturating_sub(looked_ns) < EVERY_NS) {
            return;
        }
        self.looked_at_addresses_ns = Some(now.monotonic_ns);
        let mut own = HashSet::new();
        for namespace in &self.namespaces {
            match namespace.netns.inside(addresses) {
                Ok(Ok(addresses)) => own.extend(addresses),
                Ok(Err(error)) => tracing::debug!(%error, "cannot list the host's addresses"),
                Err(error) => tracing::debug!(%error, "cannot enter a namespace for its addresses"),
            }
        }
        self.observer.set_place(Place::Own(own));
    }
}

fn addresses() -> nix::Result<Vec<IpAddr>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        let v6 = || {
            let v6 = address.as_sockaddr_in6()?;
            Some(v6.ip().into())
        };
        v4.or_else(v6)
    });
    Ok(addresses.collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_loopback_address_is_the_hosts_own() {
        let addresses = addresses().unwrap();
        assert!(
            addresses.contains(&Ipv4Addr::LOCALHOST.into()),
            "{addresses:?}"
        );
    }
}
