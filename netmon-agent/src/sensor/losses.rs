//! Reading `LOSSES`, and `LOST_PACKETS` where each lost packet is logged.

use aya::maps::{MapData, MapError, RingBuf};
use netmon_common::loss::{Loss, LostPacket};

use super::Sensor;

/// Most lost packets logged before other work gets its turn.
const BURST: usize = 1024;

/// The lost packets, if they are logged.
pub(super) type LostPackets = Option<RingBuf<MapData>>;

impl Sensor {
    /// Packets that did not become an event, by cause, since the programs were loaded.
    pub fn losses(&self) -> Result<[(Loss, u64); Loss::ALL.len()], MapError> {
        let mut losses = Loss::ALL.map(|loss| (loss, 0));
        for (loss, count) in &mut losses {
            *count = self.losses.get(&(*loss as u32), 0)?.iter().sum();
        }
        Ok(losses)
    }

    /// Logs the packets that were lost since the last call, if the programs were loaded so.
    pub fn log_losses(&mut self) {
        let Some(lost) = &mut self.lost else { return };
        for _ in 0..BURST {
            let Some(record) = lost.next() else { return };
            if let Some((ifindex, cause)) = LostPacket::parse(&record) {
                tracing::debug!(ifindex, cause = cause.name(), "a packet was lost");
            }
        }
    }
}
