//! The UDP ports on which NTP is looked for.

mod slots;

pub use slots::PortSlots;

use super::PORT;
use crate::packet::PortSet;

/// Up to eight ports; none: NTP is not looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NtpPorts {
    /// Ascending as far as `length` goes, 0 from there on.
    ports: [u16; Self::MAX],
    length: u8,
}

/// Numbers that are no set of ports for NTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NtpPortsError {
    /// No datagram goes to it.
    #[error("port 0 is nobody's: ports are 1 to 65535")]
    Zero,
    /// The kernel compares with each.
    #[error("NTP is looked for on eight ports at most: take some out")]
    TooMany,
}

impl NtpPorts {
    /// Most ports of a set.
    pub const MAX: usize = 8;

    /// No port: NTP is not looked for.
    pub const NONE: Self = Self {
        ports: [0; Self::MAX],
        length: 0,
    };

    /// A set of these ports; one that comes twice is in it once.
    ///
    /// # Errors
    ///
    /// [`NtpPortsError`], by the first port that does not fit.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Result<Self, NtpPortsError> {
        let mut set = Self::NONE;
        for port in ports {
            set.add(port)?;
        }
        Ok(set)
    }

    fn add(&mut self, port: u16) -> Result<(), NtpPortsError> {
        if port == 0 {
            return Err(NtpPortsError::Zero);
        }
        if self.contains(port) {
            return Ok(());
        }
        let length = self.len();
        let free = self.ports.get_mut(length).ok_or(NtpPortsError::TooMany)?;
        *free = port;
        self.length += 1;
        self.ports[..=length].sort_unstable();
        Ok(())
    }

    /// Takes a port out; whether it was in.
    fn take(&mut self, port: u16) -> bool {
        let Some(at) = self.as_slice().iter().position(|own| *own == port) else {
            return false;
        };
        let length = self.len();
        self.ports.copy_within(at + 1..length, at);
        self.ports[length - 1] = 0;
        self.length -= 1;
        true
    }

    /// Whether it is one of them: a server's.
    pub fn contains(&self, port: u16) -> bool {
        self.as_slice().contains(&port)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// In ascending order.
    pub fn as_slice(&self) -> &[u16] {
        self.ports.split_at(self.len()).0
    }
}

impl Default for NtpPorts {
    /// The port of NTP alone.
    fn default() -> Self {
        let mut ports = [0; Self::MAX];
        ports[0] = PORT;
        Self { ports, length: 1 }
    }
}

impl PortSet for NtpPorts {
    #[inline]
    fn has_either(&self, source: u16, destination: u16) -> bool {
        self.contains(source) || self.contains(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_in_order_and_without_repetition() {
        let set = NtpPorts::new([1123, 123, 1123]).unwrap();
        assert_eq!(set.as_slice(), [123, 1123]);
        assert_eq!(NtpPorts::new([123]), Ok(NtpPorts::default()));
        assert_eq!(NtpPorts::new([]), Ok(NtpPorts::NONE));
        assert!(NtpPorts::NONE.is_empty());
    }

    #[test]
    fn what_is_no_set_is_refused_by_name() {
        assert_eq!(NtpPorts::new([123, 0]), Err(NtpPortsError::Zero));
        assert!(NtpPorts::new(1..=8).is_ok());
        assert_eq!(NtpPorts::new(1..=9), Err(NtpPortsError::TooMany));
    }

    #[test]
    fn either_port_of_a_datagram_may_be_the_servers() {
        let set = NtpPorts::new([123, 1123]).unwrap();
        assert!(set.has_either(40_000, 1123) && set.has_either(123, 40_000));
        assert!(!set.has_either(40_000, 53));
        assert!(!NtpPorts::NONE.has_either(0, 0), "an empty slot is no port");
    }
}
