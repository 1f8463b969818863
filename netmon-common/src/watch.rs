//! Addresses and prefixes to watch: the keys of the kernel's tries, one for each family, and lists of
//! entries as agents and servers keep and exchange them.

#[cfg(feature = "std")]
mod coded;
#[cfg(feature = "std")]
mod list;
#[cfg(feature = "wire")]
mod update;

use core::net::IpAddr;

#[cfg(feature = "std")]
pub use list::{Change, Digest, List};
#[cfg(feature = "wire")]
pub use update::{Assembly, Held, UpdateError, update};

use crate::flow::double;

/// Octets of an IPv4 trie's key: the number of bits that count, and the address.
pub const KEY4_LENGTH: usize = 8;
/// Octets of an IPv6 trie's key.
pub const KEY6_LENGTH: usize = 20;

/// The key of a single IPv4 address, as one word in memory.
///
/// Kernel programs put keys together in whole words: without `CAP_PERFMON` the verifier of Linux 6.1
/// takes a word of the stack that is written half by half for a damaged pointer.
#[inline(always)]
pub const fn key4(address: [u8; 4]) -> u64 {
    double(32, u32::from_ne_bytes(address))
}

/// The key of a single IPv6 address, given as two words in memory, as three; the last four octets are
/// not part of it.
#[inline(always)]
pub const fn key6(address: [u64; 2]) -> [u64; 3] {
    let [[a, b], [c, d]] = [halves(address[0]), halves(address[1])];
    [double(128, a), double(b, c), double(d, 0)]
}

/// The two numbers that stand side by side in memory.
#[inline(always)]
const fn halves(word: u64) -> [u32; 2] {
    if cfg!(target_endian = "little") {
        [word as u32, (word >> 32) as u32]
    } else {
        [(word >> 32) as u32, word as u32]
    }
}

/// Most entries of a watch set, both families together.
pub const MAX_ENTRIES: u32 = 1 << 20;

/// Most entries of the list that a server has its agents watch: what is left of [`MAX_ENTRIES`] is for
/// an agent's own.
pub const MAX_SERVED: usize = 1_000_000;

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
    /// A single address.
    pub const fn host(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }

    /// So many bits of an address.
    ///
    /// # Errors
    /// When the address has fewer, or further bits are set.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let (bits, value) = match address {
            IpAddr::V4(address) => (32, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (128, u128::from(address)),
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
        match length {
            None => Ok(Self::host(address)),
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                Self::new(address, digits.parse().map_err(|_| PrefixError::Length)?)
            }
            Some(_) => Err(PrefixError::Length),
        }
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
    fn a_key_is_the_number_of_bits_and_the_address() {
        let key = key4([192, 0, 2, 1]).to_ne_bytes();
        assert_eq!(key[..4], 32_u32.to_ne_bytes());
        assert_eq!(key[4..], [192, 0, 2, 1]);
        let address: [u8; 16] = core::array::from_fn(|octet| octet as u8 + 1);
        let words: [u64; 2] = zerocopy::transmute!(address);
        let key: [u8; 24] = zerocopy::transmute!(key6(words));
        assert_eq!(key[..4], 128_u32.to_ne_bytes());
        assert_eq!(key[4..KEY6_LENGTH], address);
    }

    #[test]
    fn a_prefix_contains_its_addresses_only() {
        let prefix: Prefix = "192.0.2.128/25".parse().unwrap();
        assert!(prefix.contains("192.0.2.200".parse().unwrap()));
        assert!(!prefix.contains("192.0.2.100".parse().unwrap()));
        assert!(!prefix.contains("::".parse().unwrap()));
    }
}
