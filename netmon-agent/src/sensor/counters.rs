//! Reading `COUNTERS` and `COUNTERS_OF_HIGH_INDEX`.

use std::io;

use aya::{
    maps::{MapError, PerCpuValues},
    util::nr_cpus,
};
use netmon_common::counters::{Class, ClassKey, CounterKey, Counters, Direction, Split};

use super::Sensor;
use crate::bandwidth::Totals;

impl Sensor {
    /// Sets an interface's counters to zero. Call it before attaching: packets of an interface
    /// without a place are not counted.
    pub fn insert_counters(&mut self, ifindex: u32) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        for key in keys(ifindex) {
            let zero = PerCpuValues::try_from(vec![[0; 4]; cpus])
                .map_err(|error: io::Error| MapError::IoError(error))?;
            match key.slot() {
                Some(slot) => self.counters.set(slot, zero, 0)?,
                None => self.counters_of_high_index.insert(key.0, zero, 0)?,
            }
        }
        self.insert_untracked(ifindex)
    }

    /// What passed the interface since its counters were set to zero.
    pub fn totals(&self, ifindex: u32) -> Result<Totals, MapError> {
        let total = |direction| {
            self.classes(ifindex, direction)
                .map(|all| all.into_iter().sum())
        };
        Ok(Totals {
            ingress: total(Direction::Ingress)?,
            egress: total(Direction::Egress)?,
        })
    }

    /// The same by IP version and transport: ingress, egress.
    pub fn splits(&self, ifindex: u32) -> Result<[Split; 2], MapError> {
        let split = |direction| self.classes(ifindex, direction).map(Split::from_classes);
        Ok([split(Direction::Ingress)?, split(Direction::Egress)?])
    }

    /// The counters of every class, in the order of [`Class::ALL`].
    pub fn classes(
        &self,
        ifindex: u32,
        direction: Direction,
    ) -> Result<[Counters; Class::ALL.len()], MapError> {
        let mut classes = [Counters::default(); Class::ALL.len()];
        for (counters, class) in classes.iter_mut().zip(Class::ALL) {
            *counters = self.read(CounterKey::new(ifindex, direction).of(class))?;
        }
        Ok(classes)
    }

    fn read(&self, key: ClassKey) -> Result<Counters, MapError> {
        let per_cpu = match key.slot() {
            Some(slot) => self.counters.get(&slot, 0)?,
            None => self.counters_of_high_index.get(&key.0, 0)?,
        };
        Ok(per_cpu.iter().copied().map(Counters::from_words).sum())
    }

    /// Interfaces and directions that have their counters in the hash of high indices.
    pub fn map_entries(&self) -> usize {
        self.counters_of_high_index
            .keys()
            .filter(Result::is_ok)
            .count()
            .div_ceil(Class::ALL.len())
    }

    /// Gives an interface's place back.
    pub fn remove_counters(&mut self, ifindex: u32) {
        self.remove_untracked(ifindex);
        for key in keys(ifindex) {
            if key.slot().is_none() {
                // Gone already is as good as removed.
                let _ = self.counters_of_high_index.remove(&key.0);
            }
        }
    }
}

/// Every key of an interface.
fn keys(ifindex: u32) -> impl Iterator<Item = ClassKey> {
    Direction::ALL.into_iter().flat_map(move |direction| {
        let key = CounterKey::new(ifindex, direction);
        Class::ALL.map(|class| key.of(class))
    })
}
