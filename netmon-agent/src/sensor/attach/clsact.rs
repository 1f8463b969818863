//! Classic filters, for kernels without TCX: the same programs in a clsact qdisc.
//!
//! Filters stay in the kernel when their maker dies. So their names say whose they are, whoever is
//! dead is cleaned up after, and nothing is ever removed but by such a name. Other people's filters
//! are left alone, and so is a qdisc that is not ours or no longer ours alone.

use std::{io, os::fd::BorrowedFd, sync::Arc};

use netmon_common::counters::Direction;

use super::{
    filter_name::FilterName,
    owner::{Owner, Turn},
    traffic_control::{BPF, CLSACT, EVERY_PROTOCOL, Filter, TrafficControl},
};

/// Other programs choose small handles: a `replace` of theirs must not hit a filter of ours.
const LEAST_HANDLE: u32 = 1 << 16;

/// Attempts to find a handle that is free, or a qdisc that stays.
const ATTEMPTS: u32 = 8;

/// The filters of this agent at one interface. Dropping them removes them.
#[derive(Debug)]
pub(super) struct Filters {
    ifindex: u32,
    owner: Arc<Owner>,
    directions: Vec<Direction>,
    made_qdisc: bool,
}

/// The filters cannot be put there.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// Something that has no filters in both directions sits there.
    #[error("its place for filters is taken by a qdisc of kind {0}")]
    Taken(String),
    /// The kernel's word.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Filters {
    /// Puts each program at the head of its direction: `priority` or the first one after it that is
    /// free or has filters like ours, before whatever has the same priority.
    pub(super) fn attach(
        ifindex: u32,
        owner: &Arc<Owner>,
        priority: u16,
        programs: &[(Direction, BorrowedFd<'_>)],
    ) -> Result<Self, FilterError> {
        let mut filters = Self {
            ifindex,
            owner: Arc::clone(owner),
            directions: programs.iter().map(|(direction, _)| *direction).collect(),
            made_qdisc: false,
        };
        filters.put(priority, programs)?;
        Ok(filters)
    }

    /// Puts them there again, when somebody has removed one or all of them.
    pub(super) fn put(
        &mut self,
        priority: u16,
        programs: &[(Direction, BorrowedFd<'_>)],
    ) -> Result<(), FilterError> {
        let control = TrafficControl::open()?;
        let _turn = Turn::take(self.ifindex);
        // What agents have made, agents remove: the last to leave does it.
        self.made_qdisc |= make_qdisc(&control, self.ifindex)?;
        let found = control.filters(self.ifindex)?;
        self.made_qdisc |= found
            .iter()
            .filter_map(of_an_agent)
            .any(|name| name.made_qdisc);
        remove_leftovers(&control, self.ifindex, &found);
        self.remove_mine(&control, &found)?;
        for (direction, program) in programs {
            self.add(&control, priority, *direction, *program)?;
        }
        Ok(())
    }

    /// Where they are meant to be.
    pub(super) fn directions(&self) -> &[Direction] {
        &self.directions
    }

    fn add(
        &self,
        control: &TrafficControl,
        priority: u16,
        direction: Direction,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let name = FilterName {
            direction,
            owner: self.owner.number(),
            made_qdisc: self.made_qdisc,
        };
        let mut attempts = ATTEMPTS;
        loop {
            let there = control.filters(self.ifindex)?;
            let priority_there = usable_priority(priority, direction, &there);
            if priority_there != priority {
                tracing::warn!(
                    ifindex = self.ifindex,
                    direction = direction.name(),
                    "filters of another kind have priority {priority}: packets that they or \
                     others before priority {priority_there} drop or redirect are not counted"
                );
            }
            let filter = Filter {
                direction,
                chain: 0,
                priority: priority_there,
                protocol: EVERY_PROTOCOL,
                handle: rand::random_range(LEAST_HANDLE..=i32::MAX.cast_unsigned()),
                kind: BPF.to_owned(),
                name: Some(name.to_string()),
            };
            match control.add(self.ifindex, &filter, program) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts > 0 => {
                    attempts -= 1;
                }
                result => return result,
            }
        }
    }

    /// Whether nobody has taken one away, or the qdisc with everything in it.
    pub(super) fn are_there(&self) -> io::Result<bool> {
        let there = TrafficControl::open()?.filters(self.ifindex)?;
        let mine = |direction: &Direction| {
            there
                .iter()
                .filter_map(of_an_agent)
                .any(|name| self.is_mine(name) && name.direction == *direction)
        };
        Ok(self.directions.iter().all(mine))
    }

    fn is_mine(&self, name: FilterName) -> bool {
        name.owner == self.owner.number()
    }

    fn remove_mine(&self, control: &TrafficControl, there: &[Filter]) -> io::Result<()> {
        for filter in there {
            if of_an_agent(filter).is_some_and(|name| self.is_mine(name)) {
                control.delete(self.ifindex, filter)?;
            }
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        let control = TrafficControl::open()?;
        let _turn = Turn::take(self.ifindex);
        self.remove_mine(&control, &control.filters(self.ifindex)?)?;
        if self.made_qdisc {
            delete_if_empty(&control, self.ifindex)?;
        }
        Ok(())
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        match self.remove() {
            // With the interface, its filters are gone.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                tracing::warn!(ifindex = self.ifindex, %error, "classic filters may be left");
            }
            Ok(()) => {}
        }
    }
}

/// What became of filters that killed agents have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// These are gone.
    pub removed: usize,
    /// These stay: the kernel refused to remove them, or to show them.
    pub left: usize,
}

/// Removes what killed agents have left, everywhere.
pub(super) fn sweep() -> io::Result<Swept> {
    let control = TrafficControl::open()?;
    let mut all = Swept::default();
    for ifindex in control.interfaces_with_clsact()? {
        let _turn = Turn::take(ifindex);
        let swept = control.filters(ifindex).and_then(|found| {
            let (removed, left) = remove_leftovers(&control, ifindex, &found);
            all.removed += removed.len();
            all.left += left;
            if removed.iter().any(|name| name.made_qdisc) {
                delete_if_empty(&control, ifindex)?;
            }
            Ok(())
        });
        match swept {
            Ok(()) => {}
            // It went away meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                all.left += 1;
                tracing::warn!(ifindex, %error, "filters not looked through");
            }
        }
    }
    Ok(all)
}

/// Whether there was none before.
fn make_qdisc(control: &TrafficControl, ifindex: u32) -> Result<bool, FilterError> {
    let mut attempts = ATTEMPTS;
    loop {
        match control.qdisc(ifindex)? {
            Some(kind) if kind == CLSACT => return Ok(false),
            Some(kind) => return Err(FilterError::Taken(kind)),
            None => {}
        }
        match control.add_clsact(ifindex) {
            Ok(()) => return Ok(true),
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts > 0 => {
                attempts -= 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the filters of agents that are dead; gives the names of those that are gone, and how many
/// stay.
fn remove_leftovers(
    control: &TrafficControl,
    ifindex: u32,
    found: &[Filter],
) -> (Vec<FilterName>, usize) {
    let (mut removed, mut left) = (Vec::new(), 0);
    for filter in found {
        let Some(name) = of_an_agent(filter).filter(|name| !Owner::is_alive(name.owner)) else {
            continue;
        };
        match control.delete(ifindex, filter) {
            Ok(()) => {
                tracing::info!(ifindex, %name, "removed a filter that a killed agent has left");
                removed.push(name);
            }
            Err(error) => {
                left += 1;
                tracing::warn!(ifindex, %name, %error, "a leftover filter stays");
            }
        }
    }
    (removed, left)
}

/// With agents it is settled who looks and removes. Of others, nobody can be asked to wait: a filter
/// that comes between the look and the removal goes with the qdisc.
fn delete_if_empty(control: &TrafficControl, ifindex: u32) -> io::Result<()> {
    if control.filters(ifindex)?.is_empty()
        && control.qdisc(ifindex)?.is_some_and(|kind| kind == CLSACT)
    {
        control.delete_clsact(ifindex)?;
    }
    Ok(())
}

fn of_an_agent(filter: &Filter) -> Option<FilterName> {
    // Handle 0 would mean every filter of the priority.
    if filter.handle == 0 || filter.chain != 0 {
        return None;
    }
    FilterName::parse(filter.name.as_deref()?).filter(|name| name.direction == filter.direction)
}

/// The kernel keeps filters of one kind and protocol in a priority.
fn usable_priority(wanted: u16, direction: Direction, there: &[Filter]) -> u16 {
    let fits = |priority: &u16| {
        there
            .iter()
            .filter(|filter| {
                filter.direction == direction && filter.chain == 0 && filter.priority == *priority
            })
            .all(|filter| filter.kind == BPF && filter.protocol == EVERY_PROTOCOL)
    };
    (wanted.max(1)..=u16::MAX).find(fits).unwrap_or(wanted)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(priority: u16, protocol: u16, kind: &str, chain: u32) -> Filter {
        Filter {
            direction: Direction::Ingress,
            chain,
            priority,
            protocol,
            handle: 1,
            kind: kind.to_owned(),
            name: None,
        }
    }

    #[test]
    fn a_priority_is_shared_with_filters_alike_only() {
        let ipv4 = (libc::ETH_P_IP as u16).to_be();
        for (there, expected) in [
            (vec![], 1),
            (vec![filter(1, EVERY_PROTOCOL, BPF, 0)], 1),
            (vec![filter(1, EVERY_PROTOCOL, "u32", 0)], 2),
            (vec![filter(1, ipv4, BPF, 0)], 2),
            (vec![filter(1, EVERY_PROTOCOL, "u32", 5)], 1),
            (
                vec![filter(2, ipv4, "u32", 0), filter(1, ipv4, "flower", 0)],
                3,
            ),
        ] {
            assert_eq!(
                usable_priority(1, Direction::Ingress, &there),
                expected,
                "{there:?}"
            );
            assert_eq!(usable_priority(1, Direction::Egress, &there), 1);
        }
    }

    #[test]
    fn only_names_of_agents_are_taken_for_theirs() {
        let named = |name: &str, handle| Filter {
            name: Some(name.to_owned()),
            handle,
            ..filter(1, EVERY_PROTOCOL, BPF, 0)
        };
        let name = "netmon-ingress-1c0ffee1c0ffee01";
        assert!(of_an_agent(&named(name, 7)).is_some());
        assert!(of_an_agent(&named(name, 0)).is_none(), "a whole priority");
        let elsewhere = "netmon-egress-1c0ffee1c0ffee01";
        assert!(of_an_agent(&named(elsewhere, 7)).is_none());
    }
}
