//! Whose requests the pairing may have missed: what seems to answer nothing accuses nobody then.

use std::{collections::HashMap, net::IpAddr};

use super::prefix::Prefix;
use crate::ntp::{Tap, recent::Recent};

/// Most networks known to be missed in part; beyond it all are.
const MAX_PREFIXES: usize = 1024;

/// Until when requests may have been missed.
#[derive(Debug)]
pub(super) struct Blind {
    all_until_ns: u64,
    prefixes: Recent<Prefix, u64>,
    /// Interfaces at which more is looked at than before, until when.
    taps: HashMap<Tap, u64>,
}

impl Blind {
    /// Everything was missed until then.
    pub(super) fn until(all_until_ns: u64) -> Self {
        Self {
            all_until_ns,
            prefixes: Recent::new(MAX_PREFIXES),
            taps: HashMap::new(),
        }
    }

    /// What came at an interface before now was not looked at.
    pub(super) fn begin(&mut self, tap: Tap, now_ns: u64, until_ns: u64) {
        self.taps.retain(|_, until_ns| *until_ns > now_ns);
        self.taps.insert(tap, until_ns);
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

    /// Whether a response to this client at an interface may answer a request that is not remembered.
    pub(super) fn may_have_missed(&self, tap: Tap, client: IpAddr, now_ns: u64) -> bool {
        let untils = [self.prefixes.peek(&Prefix::of(client)), self.taps.get(&tap)];
        let mut untils = untils.into_iter().flatten();
        now_ns < self.all_until_ns || untils.any(|until_ns| now_ns < *until_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAP: Tap = Tap {
        namespace: 0,
        ifindex: 2,
    };

    #[test]
    fn an_interface_that_was_not_looked_at_does_not_hide_the_others() {
        let mut blind = Blind::until(0);
        let client = "192.0.2.1".parse().unwrap();
        blind.begin(TAP, 10, 20);
        assert!(blind.may_have_missed(TAP, client, 19));
        assert!(!blind.may_have_missed(TAP, client, 20));
        let other = Tap { ifindex: 3, ..TAP };
        assert!(!blind.may_have_missed(other, client, 15));
        blind.begin(other, 20, 30);
        assert_eq!(blind.taps.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn one_network_that_is_missed_does_not_hide_the_others() {
        let mut blind = Blind::until(0);
        let [one, other] = ["192.0.2.1", "198.51.100.1"].map(|text| text.parse().unwrap());
        blind.miss(one, 10, 20);
        assert!(blind.may_have_missed(TAP, one, 19) && !blind.may_have_missed(TAP, one, 20));
        assert!(!blind.may_have_missed(TAP, other, 15));
    }

    #[test]
    fn more_networks_than_can_be_remembered_hide_all() {
        let mut blind = Blind::until(0);
        for number in 0..=MAX_PREFIXES as u32 {
            blind.miss(IpAddr::from((number << 8).to_be_bytes()), 10, 20);
        }
        assert!(blind.may_have_missed(TAP, "203.0.113.1".parse().unwrap(), 15));
    }
}
