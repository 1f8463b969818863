//! The interfaces of captures, and what passed them.

use std::sync::Arc;

use netmon_common::counters::{Class, Counters, Direction, Split};

use super::kernel::Totals;

/// Most interfaces that are told apart; the last stands for all further ones.
const MAX_INTERFACES: usize = 4096;

/// Interfaces by number, in the order in which they first had a frame.
#[derive(Default)]
pub(super) struct Interfaces(Vec<Interface>);

struct Interface {
    name: Option<Arc<str>>,
    totals: Totals,
}

impl Interfaces {
    /// The number of an interface.
    pub(super) fn number(&mut self, name: Option<&Arc<str>>) -> usize {
        let known = self.0.iter().position(|known| known.name.as_ref() == name);
        known.unwrap_or_else(|| {
            if self.0.len() < MAX_INTERFACES {
                self.0.push(Interface {
                    name: name.cloned(),
                    totals: Totals::default(),
                });
            }
            self.0.len() - 1
        })
    }

    /// Its name; `None`: the capture knows none.
    pub(super) fn name(&self, number: usize) -> Option<&str> {
        self.0.get(number)?.name.as_deref()
    }

    /// Counts.
    pub(super) fn add(&mut self, number: usize, way: Direction, class: Class, passed: Counters) {
        if let Some(interface) = self.0.get_mut(number) {
            interface.totals[way as usize][class as usize] += passed;
        }
    }

    /// Counts what the kernel has counted.
    pub(super) fn add_all(&mut self, number: usize, passed: Totals) {
        for (way, classes) in Direction::ALL.into_iter().zip(passed) {
            for (class, passed) in Class::ALL.into_iter().zip(classes) {
                self.add(number, way, class, passed);
            }
        }
    }

    /// Everything counted, interface by interface, leaving out what nothing went.
    pub(super) fn counters(
        &self,
    ) -> impl Iterator<Item = (Option<&str>, Direction, Counters, Split)> {
        self.0.iter().flat_map(|interface| {
            let ways = Direction::ALL.into_iter().zip(interface.totals);
            ways.map(|(way, classes)| {
                let total: Counters = classes.into_iter().sum();
                let split = Split::from_classes(classes);
                (interface.name.as_deref(), way, total, split)
            })
            .filter(|(_, _, total, _)| *total != Counters::default())
        })
    }
}
