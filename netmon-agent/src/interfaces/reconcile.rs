//! From what rtnetlink says to what has to be done: wanted = filter ∧ up.

use std::collections::BTreeMap;

use super::{Event, Filter, Interface};

/// What has to change for the watched set to be the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Start watching.
    Start(Interface),
    /// Stop watching the interface of this index.
    Stop(u32),
    /// Still watched, under another name or with other properties.
    Update(Interface),
}

/// The interfaces of the host, and which are watched.
#[derive(Debug)]
pub struct Table {
    filter: Filter,
    watched: BTreeMap<u32, Interface>,
}

impl Table {
    /// Nothing is watched yet.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            watched: BTreeMap::new(),
        }
    }

    /// Takes one event; returns what has to be done now.
    pub fn observe(&mut self, event: Event) -> Vec<Change> {
        match event {
            Event::Present(interface) => self.present(interface).into_iter().collect(),
            Event::Gone(ifindex) => self.stop(ifindex).into_iter().collect(),
            Event::Dump(interfaces) => self.dump(interfaces),
            // The caller asks for a dump.
            Event::Missed => Vec::new(),
        }
    }

    /// A full list heals whatever an overrun socket made us miss.
    fn dump(&mut self, interfaces: Vec<Interface>) -> Vec<Change> {
        let gone: Vec<u32> = self
            .watched
            .keys()
            .copied()
            .filter(|ifindex| !interfaces.iter().any(|present| present.ifindex == *ifindex))
            .collect();
        let stops = gone
            .into_iter()
            .filter_map(|ifindex| self.stop(ifindex))
            .collect::<Vec<_>>();
        stops
            .into_iter()
            .chain(interfaces.into_iter().filter_map(|i| self.present(i)))
            .collect()
    }

    fn present(&mut self, interface: Interface) -> Option<Change> {
        let wanted = interface.up && self.filter.passes(&interface.name);
        match (self.watched.get(&interface.ifindex), wanted) {
            (None, true) => {
                self.watched.insert(interface.ifindex, interface.clone());
                Some(Change::Start(interface))
            }
            (Some(known), true) if *known != interface => {
                self.watched.insert(interface.ifindex, interface.clone());
                Some(Change::Update(interface))
            }
            (Some(_), false) => self.stop(interface.ifindex),
            (Some(_), true) | (None, false) => None,
        }
    }

    fn stop(&mut self, ifindex: u32) -> Option<Change> {
        self.watched.remove(&ifindex).map(|_| Change::Stop(ifindex))
    }

    /// Attaching failed: the next event about the interface tries again.
    pub fn forget(&mut self, ifindex: u32) {
        self.watched.remove(&ifindex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::LinkKind;

    fn table() -> Table {
        Table::new(Filter::new(&["*".into()], &["lo".into()]).unwrap())
    }

    fn interface(ifindex: u32, name: &str, up: bool) -> Interface {
        Interface {
            ifindex,
            name: name.into(),
            mac: vec![],
            mtu: 1500,
            up,
            carrier: up,
            kind: LinkKind::Ethernet,
            is_virtual: false,
        }
    }

    #[test]
    fn an_interface_is_watched_while_it_is_up() {
        let mut table = table();
        let (down, up) = (interface(2, "eth0", false), interface(2, "eth0", true));
        assert_eq!(table.observe(Event::Present(down.clone())), []);
        assert_eq!(
            table.observe(Event::Present(up.clone())),
            [Change::Start(up.clone())]
        );
        assert_eq!(table.observe(Event::Present(up)), []);
        assert_eq!(table.observe(Event::Present(down)), [Change::Stop(2)]);
        assert_eq!(table.observe(Event::Gone(2)), []);
    }

    #[test]
    fn an_excluded_interface_is_never_watched() {
        assert_eq!(
            table().observe(Event::Present(interface(1, "lo", true))),
            []
        );
    }

    #[test]
    fn a_new_name_is_an_update_unless_the_filter_minds() {
        let mut table = table();
        table.observe(Event::Present(interface(2, "eth0", true)));
        let renamed = interface(2, "lan", true);
        assert_eq!(
            table.observe(Event::Present(renamed.clone())),
            [Change::Update(renamed)]
        );
        assert_eq!(
            table.observe(Event::Present(interface(2, "lo", true))),
            [Change::Stop(2)]
        );
    }

    #[test]
    fn a_dump_heals_what_was_missed() {
        let mut table = table();
        table.observe(Event::Present(interface(2, "eth0", true)));
        let eth1 = interface(3, "eth1", true);
        assert_eq!(
            table.observe(Event::Dump(vec![eth1.clone()])),
            [Change::Stop(2), Change::Start(eth1)]
        );
    }

    #[test]
    fn an_interface_that_could_not_be_attached_is_tried_again() {
        let mut table = table();
        let eth0 = interface(2, "eth0", true);
        table.observe(Event::Present(eth0.clone()));
        table.forget(2);
        assert_eq!(
            table.observe(Event::Dump(vec![eth0.clone()])),
            [Change::Start(eth0)]
        );
    }
}
