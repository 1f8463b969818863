//! Reading `LOSSES`.

use aya::maps::MapError;
use netmon_common::loss::Loss;

use super::Sensor;

impl Sensor {
    /// Packets that did not become an event, by cause, since the programs were loaded.
    pub fn losses(&self) -> Result<[(Loss, u64); Loss::ALL.len()], MapError> {
        let mut losses = Loss::ALL.map(|loss| (loss, 0));
        for (loss, count) in &mut losses {
            *count = self.losses.get(&(*loss as u32), 0)?.iter().sum();
        }
        Ok(losses)
    }
}
