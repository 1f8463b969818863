//! Keys of the kernel's watch set: longest-prefix-match tries, one for each family.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of the IPv4 trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WatchKey4 {
    /// Bits that count.
    pub prefix_length: u32,
    /// Network byte order.
    pub address: [u8; 4],
}

/// Key of the IPv6 trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WatchKey6 {
    /// Bits that count.
    pub prefix_length: u32,
    /// Network byte order.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<WatchKey4>() == 8);
const _: () = assert!(size_of::<WatchKey6>() == 20);

/// Most entries of a watch set, both families together.
pub const MAX_ENTRIES: u32 = 1 << 20;

/// An address or a prefix to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why a line is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address.
    #[error("not an IPv4 or IPv6 address")]
    Address,
    /// Not a number, or more than the address has bits.
    #[error("not a prefix length of this family")]
    Length,
    /// `192.0.2.1/24`: is it the host that is meant, or the network?
    #[error("bits are set behind the prefix")]
    HostBits,
}

impl Prefix {
    /// The address that the prefix begins with.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits that count.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let apart = u32::from(network) ^ u32::from(address);
                apart.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let apart = u128::from(network) ^ u128::from(address);
                apart.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

impl core::str::FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let (bits, value) = match address {
            IpAddr::V4(address) => (32, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (128, u128::from(address)),
        };
        let length = match length {
            None => bits,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map_err(|_| PrefixError::Length)?
            }
            Some(_) => return Err(PrefixError::Length),
        };
        if length > bits {
            return Err(PrefixError::Length);
        }
        let behind = value.checked_shl(length.into()).unwrap_or(0);
        if behind != 0 {
            return Err(PrefixError::HostBits);
        }
        Ok(Self { address, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_prefixes_of_both_families_are_read() {
        for (text, length) in [
            ("192.0.2.1", 32),
            ("192.0.2.0/24", 24),
            ("0.0.0.0/0", 0),
            ("2001:db8::1", 128),
            ("2001:db8::/32", 32),
            ("::/0", 0),
        ] {
            assert_eq!(
                text.parse::<Prefix>().map(|p| p.length()),
                Ok(length),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_the_reason() {
        for (text, error) in [
            ("example.org", PrefixError::Address),
            ("192.0.2", PrefixError::Address),
            ("192.0.2.0/33", PrefixError::Length),
            ("192.0.2.0/", PrefixError::Length),
            ("192.0.2.0/+8", PrefixError::Length),
            ("192.0.2.1/24", PrefixError::HostBits),
            ("2001:db8::1/64", PrefixError::HostBits),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_its_addresses_only() {
        let prefix: Prefix = "192.0.2.128/25".parse().unwrap();
        assert!(prefix.contains("192.0.2.200".parse().unwrap()));
        assert!(!prefix.contains("192.0.2.100".parse().unwrap()));
        assert!(!prefix.contains("::".parse().unwrap()));
    }
}
