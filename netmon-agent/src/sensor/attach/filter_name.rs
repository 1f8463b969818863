//! The name of a classic filter says whose it is.
//!
//! `netmon-ingress-1c0ffee1c0ffee01`, with `-qdisc` behind it if an agent has made the clsact qdisc
//! that it sits in. `tc filter show dev eth0 ingress` shows it.

use netmon_common::counters::Direction;

const PREFIX: &str = "netmon-";
const MADE_QDISC: &str = "-qdisc";
/// Hexadecimal digits of the owner's number.
const DIGITS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterName {
    pub(super) direction: Direction,
    /// The number of the run of an agent that has made it.
    pub(super) owner: u64,
    /// An agent has made the qdisc: the last to leave removes it.
    pub(super) made_qdisc: bool,
}

impl FilterName {
    /// `None`: somebody else's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (direction, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let direction = Direction::ALL
            .into_iter()
            .find(|known| known.name() == direction)?;
        let (owner, made_qdisc) = match rest.strip_suffix(MADE_QDISC) {
            Some(owner) => (owner, true),
            None => (rest, false),
        };
        let is_digit = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
        if owner.len() != DIGITS || !owner.bytes().all(is_digit) {
            return None;
        }
        Some(Self {
            direction,
            owner: u64::from_str_radix(owner, 16).ok()?,
            made_qdisc,
        })
    }
}

impl std::fmt::Display for FilterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (direction, owner) = (self.direction.name(), self.owner);
        let suffix = if self.made_qdisc { MADE_QDISC } else { "" };
        write!(f, "{PREFIX}{direction}-{owner:0DIGITS$x}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_understood_again() {
        for direction in Direction::ALL {
            for made_qdisc in [false, true] {
                let name = FilterName {
                    direction,
                    owner: 0xc0ff_ee1c_0ffe_e010,
                    made_qdisc,
                };
                assert_eq!(FilterName::parse(&name.to_string()), Some(name));
            }
        }
    }

    #[test]
    fn somebody_elses_names_are_not_ours() {
        for foreign in [
            "",
            "netmon_ingress",
            "netmon-ingress-1",
            "netmon-ingress-+c0ffee1c0ffee01",
            "netmon-ingress-1C0FFEE1C0FFEE01",
            "netmon-ingress-1c0ffee1c0ffee01-q",
            "netmon-both-1c0ffee1c0ffee01",
            "my-netmon-ingress-1c0ffee1c0ffee01",
        ] {
            assert_eq!(FilterName::parse(foreign), None, "{foreign}");
        }
    }
}
