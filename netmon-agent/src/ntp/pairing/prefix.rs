//! How many requests of one network wait: none may fill the table alone.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The part of the table that one network may fill with requests that wait.
const SHARE: usize = 4;
/// In a table of a handful of entries a network may still ask twice.
const LEAST: usize = 8;

/// The network of an address: /24 of IPv4, /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Prefix(IpAddr);

impl Prefix {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into()
            }
        })
    }
}

/// Waiting requests by network.
#[derive(Debug)]
pub(super) struct Prefixes {
    waiting: HashMap<Prefix, usize>,
    most: usize,
}

impl Prefixes {
    pub(super) fn new(max_pending: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            most: (max_pending / SHARE).max(LEAST),
        }
    }

    pub(super) fn is_full(&self, address: IpAddr) -> bool {
        let waiting = self.waiting.get(&Prefix::of(address));
        waiting.is_some_and(|waiting| *waiting >= self.most)
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        *self.waiting.entry(Prefix::of(address)).or_default() += 1;
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        let prefix = Prefix::of(address);
        if let Some(waiting) = self.waiting.get_mut(&prefix) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&prefix);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_prefix() {
        let same =
            |a: &str, b: &str| Prefix::of(a.parse().unwrap()) == Prefix::of(b.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.254"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:1::1", "2001:db8:1:ffff::2"));
        assert!(!same("2001:db8:1::1", "2001:db8:2::1"));
    }
}
