//! Whose requests the pairing may have missed: what seems to answer nothing accuses nobody then.

use std::net::IpAddr;

use super::prefix::Prefix;
use crate::ntp::recent::Recent;

/// Most networks known to be missed in part; beyond it all are.
const MAX_PREFIXES: usize = 1024;

/// Until when requests may have been missed.
#[derive(Debug)]
pub(super) struct Blind {
    all_until_ns: u64,
    prefixes: Recent<Prefix, u64>,
}

impl Blind {
    /// Everything was missed until then.
    pub(super) fn until(all_until_ns: u64) -> Self {
        Self {
            all_until_ns,
            prefixes: Recent::new(MAX_PREFIXES),
        }
    }

    /// A request of this client is not remembered.
    pub(super) fn miss(&mut self, client: IpAddr, now_ns: u64, until_ns: u64) {
        let (until, evicted) = self.prefixes.entry(Prefix::of(client), now_ns, || until_ns);
        *until = until_ns;
        if let Some((_, evicted_until_ns)) = evicted
            && evicted_until_ns > now_ns
        {
            self.all_until_ns = self.all_until_ns.max(until_ns);
        }
    }

    /// Whether a response to this client may answer a request that is not remembered.
    pub(super) fn may_have_missed(&self, client: IpAddr, now_ns: u64) -> bool {
        let until = self.prefixes.peek(&Prefix::of(client));
        now_ns < self.all_until_ns || until.is_some_and(|until_ns| now_ns < *until_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_that_is_missed_does_not_hide_the_others() {
        let mut blind = Blind::until(0);
        let [one, other] = ["192.0.2.1", "198.51.100.1"].map(|text| text.parse().unwrap());
        blind.miss(one, 10, 20);
        assert!(blind.may_have_missed(one, 19) && !blind.may_have_missed(one, 20));
        assert!(!blind.may_have_missed(other, 15));
    }

    #[test]
    fn more_networks_than_can_be_remembered_hide_all() {
        let mut blind = Blind::until(0);
        for number in 0..=MAX_PREFIXES as u32 {
            blind.miss(IpAddr::from((number << 8).to_be_bytes()), 10, 20);
        }
        assert!(blind.may_have_missed("203.0.113.1".parse().unwrap(), 15));
    }
}
