//! Reading `COUNTERS`.

use std::io;

use aya::{
    maps::{MapError, PerCpuValues},
    util::nr_cpus,
};
use netmon_common::counters::{CounterKey, Counters, Direction};

use super::Sensor;
use crate::bandwidth::Totals;

impl Sensor {
    /// Makes room for an interface, at zero. Call it before attaching: packets of an interface
    /// without keys are not counted.
    pub fn insert_counters(&mut self, ifindex: u32) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        for direction in Direction::ALL {
            let zero = PerCpuValues::try_from(vec![[0; 4]; cpus])
                .map_err(|error: io::Error| MapError::IoError(error))?;
            self.counters
                .insert(CounterKey::new(ifindex, direction).0, zero, 0)?;
        }
        Ok(())
    }

    /// What passed the interface since its keys were inserted.
    pub fn totals(&self, ifindex: u32) -> Result<Totals, MapError> {
        Ok(Totals {
            ingress: self.direction_total(ifindex, Direction::Ingress)?,
            egress: self.direction_total(ifindex, Direction::Egress)?,
        })
    }

    fn direction_total(&self, ifindex: u32, direction: Direction) -> Result<Counters, MapError> {
        let per_cpu = self
            .counters
            .get(&CounterKey::new(ifindex, direction).0, 0)?;
        Ok(per_cpu
            .iter()
            .copied()
            .map(Counters::from_words)
            .fold(Counters::default(), |a, b| a + b))
    }

    /// How many keys the map holds: two for each watched interface.
    pub fn counter_keys(&self) -> usize {
        self.counters.keys().filter(Result::is_ok).count()
    }

    /// Forgets an interface.
    pub fn remove_counters(&mut self, ifindex: u32) {
        for direction in Direction::ALL {
            // Gone already is as good as removed.
            let _ = self.counters.remove(&CounterKey::new(ifindex, direction).0);
        }
    }
}
