//! Reading `COUNTERS` and `COUNTERS_OF_HIGH_INDEX`.

use std::io;

use aya::{
    maps::{MapError, PerCpuValues},
    util::nr_cpus,
};
use netmon_common::counters::{CounterKey, Counters, Direction};

use super::Sensor;
use crate::bandwidth::Totals;

impl Sensor {
    /// Sets an interface's counters to zero. Call it before attaching: packets of an interface
    /// without a place are not counted.
    pub fn insert_counters(&mut self, ifindex: u32) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        for direction in Direction::ALL {
            let zero = PerCpuValues::try_from(vec![[0; 4]; cpus])
                .map_err(|error: io::Error| MapError::IoError(error))?;
            let key = CounterKey::new(ifindex, direction);
            match key.slot() {
                Some(slot) => self.counters.set(slot, zero, 0)?,
                None => self.counters_of_high_index.insert(key.0, zero, 0)?,
            }
        }
        Ok(())
    }

    /// What passed the interface since its counters were set to zero.
    pub fn totals(&self, ifindex: u32) -> Result<Totals, MapError> {
        Ok(Totals {
            ingress: self.total(CounterKey::new(ifindex, Direction::Ingress))?,
            egress: self.total(CounterKey::new(ifindex, Direction::Egress))?,
        })
    }

    fn total(&self, key: CounterKey) -> Result<Counters, MapError> {
        let per_cpu = match key.slot() {
            Some(slot) => self.counters.get(&slot, 0)?,
            None => self.counters_of_high_index.get(&key.0, 0)?,
        };
        Ok(per_cpu
            .iter()
            .copied()
            .map(Counters::from_words)
            .fold(Counters::default(), |a, b| a + b))
    }

    /// How many entries the hash of high indices holds.
    pub fn map_entries(&self) -> usize {
        self.counters_of_high_index
            .keys()
            .filter(Result::is_ok)
            .count()
    }

    /// Gives an interface's place back.
    pub fn remove_counters(&mut self, ifindex: u32) {
        for direction in Direction::ALL {
            let key = CounterKey::new(ifindex, direction);
            if key.slot().is_none() {
                // Gone already is as good as removed.
                let _ = self.counters_of_high_index.remove(&key.0);
            }
        }
    }
}
