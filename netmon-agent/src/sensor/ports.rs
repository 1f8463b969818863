//! On which ports the programs look for NTP.

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use netmon_common::ntp::{NtpPorts, PortSlots};

use super::{LoadError, Sensor};

/// `NTP_PORTS`, and what it holds.
pub(super) struct PortMap {
    map: Array<MapData, [u64; 3]>,
    slots: PortSlots,
    ports: NtpPorts,
}

impl PortMap {
    /// With the port of NTP alone in force.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        const NAME: &str = "NTP_PORTS";
        let map = ebpf.take_map(NAME).ok_or(LoadError::Missing(NAME))?;
        let mut ports = Self {
            map: Array::try_from(map)?,
            slots: PortSlots::NONE,
            ports: NtpPorts::NONE,
        };
        ports.set(&NtpPorts::default())?;
        Ok(ports)
    }

    fn set(&mut self, ports: &NtpPorts) -> Result<(), MapError> {
        for slots in self.slots.steps_to(ports) {
            let PortSlots {
                state,
                words: [low, high],
            } = slots;
            self.map.set(0, [state, low, high], 0)?;
            self.slots = slots;
        }
        self.ports = *ports;
        Ok(())
    }
}

impl Sensor {
    /// Has the programs look for NTP on these ports from now on, and on no others; none: they do not
    /// look for it, and nothing is lost of it. A packet on a port that was in force before is seen at
    /// every moment of the change.
    ///
    /// # Errors
    /// When the kernel does not take them.
    pub fn set_ntp_ports(&mut self, ports: &NtpPorts) -> Result<(), MapError> {
        self.ports.set(ports)
    }

    /// The ports in force: 123 alone after loading.
    pub const fn ntp_ports(&self) -> &NtpPorts {
        &self.ports.ports
    }
}
