//! From what rtnetlink says to what has to be done: wanted = up ∧ filter over name and addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Address, Event, Filter, Interface};

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
    present: BTreeMap<u32, Interface>,
    /// Empty when the filter does not mind them.
    addresses: BTreeSet<Address>,
    /// As they were when somebody was last told to watch them.
    watched: BTreeMap<u32, Interface>,
}

impl Table {
    /// Nothing is watched yet.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            present: BTreeMap::new(),
            addresses: BTreeSet::new(),
            watched: BTreeMap::new(),
        }
    }

    /// Takes one event; returns what has to be done now.
    pub fn observe(&mut self, event: Event) -> Vec<Change> {
        match event {
            Event::Present(interface) => {
                let ifindex = interface.ifindex;
                self.present.insert(ifindex, interface);
                self.settle(ifindex)
            }
            Event::Gone(ifindex) => {
                self.present.remove(&ifindex);
                self.addresses.retain(|address| address.ifindex != ifindex);
                self.settle(ifindex)
            }
            Event::Address(address) => {
                self.addresses.insert(address);
                self.settle(address.ifindex)
            }
            Event::AddressGone(address) => {
                self.addresses.remove(&address);
                self.settle(address.ifindex)
            }
            Event::Dump {
                interfaces,
                addresses,
            } => self.dump(interfaces, addresses),
            // The caller asks for a dump.
            Event::Missed => Vec::new(),
        }
    }

    /// Interfaces that should be watched, whether or not they are.
    pub fn wanted(&self) -> impl Iterator<Item = &Interface> {
        self.present.values().filter(|i| self.is_wanted(i))
    }

    /// How many interfaces there are.
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// A full list heals whatever an overrun socket made us miss.
    fn dump(&mut self, interfaces: Vec<Interface>, addresses: Vec<Address>) -> Vec<Change> {
        let named = |interface: Interface| (interface.ifindex, interface);
        self.present = interfaces.into_iter().map(named).collect();
        self.addresses = addresses.into_iter().collect();
        // First what goes: names and places in the maps become free.
        let gone = self
            .watched
            .keys()
            .filter(|known| !self.present.contains_key(known));
        let all: Vec<u32> = gone.chain(self.present.keys()).copied().collect();
        all.into_iter().flat_map(|i| self.settle(i)).collect()
    }

    /// Brings one interface in line.
    fn settle(&mut self, ifindex: u32) -> Vec<Change> {
        let wanted = self.present.get(&ifindex).filter(|i| self.is_wanted(i));
        let Some(interface) = wanted.cloned() else {
            let known = self.watched.remove(&ifindex);
            return known.map(|_| Change::Stop(ifindex)).into_iter().collect();
        };
        match self.watched.insert(ifindex, interface.clone()) {
            None => vec![Change::Start(interface)],
            Some(known) if known == interface => Vec::new(),
            Some(known) if is_another(&known, &interface) => {
                vec![Change::Stop(ifindex), Change::Start(interface)]
            }
            Some(_) => vec![Change::Update(interface)],
        }
    }

    fn is_wanted(&self, interface: &Interface) -> bool {
        let of_it = Address::all_of(interface.ifindex);
        let addresses = self.addresses.range(of_it).map(|a| a.address);
        interface.up && self.filter.passes(&interface.name, addresses)
    }

    /// Attaching failed: the next event about the interface tries again.
    pub fn forget(&mut self, ifindex: u32) {
        self.watched.remove(&ifindex);
    }
}

impl Address {
    fn all_of(ifindex: u32) -> std::ops::RangeInclusive<Self> {
        let [least, most] = [
            (IpAddr::from([0; 4]), 0),
            (IpAddr::from([0xff; 16]), u8::MAX),
        ]
        .map(|(address, prefix_length)| Self {
            ifindex,
            address,
            prefix_length,
        });
        least..=most
    }
}

/// Whether the index is that of another interface now. The kernel tells of a rename and of a change
/// of the link-layer address one by one: both at once mean that we missed the end of one interface
/// and the beginning of the next. Where frames start otherwise, other programs are needed anyway.
fn is_another(known: &Interface, now: &Interface) -> bool {
    known.kind != now.kind || (known.name != now.name && known.mac != now.mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, sensor::LinkKind};

    fn table_of(cidr: &[&str]) -> Table {
        let filter = Filter::new(&config::Interfaces {
            include: vec!["*".into()],
            exclude: vec!["lo".into()],
            cidr: cidr.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            namespaces: vec![],
        });
        Table::new(filter.unwrap())
    }

    fn table() -> Table {
        table_of(&[])
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

    fn address(ifindex: u32, address: &str) -> Address {
        Address {
            ifindex,
            address: address.parse().unwrap(),
            prefix_length: 24,
        }
    }

    fn dump(interfaces: Vec<Interface>) -> Event {
        Event::Dump {
            interfaces,
            addresses: vec![],
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
    fn another_link_layer_address_is_an_update() {
        let mut table = table();
        table.observe(Event::Present(interface(2, "eth0", true)));
        let mut changed = interface(2, "eth0", true);
        changed.mac = vec![2, 0, 0, 0, 0, 1];
        assert_eq!(
            table.observe(Event::Present(changed.clone())),
            [Change::Update(changed)]
        );
    }

    #[test]
    fn an_index_that_is_anothers_by_now_begins_anew() {
        let mut other_name_and_mac = interface(2, "eth1", true);
        other_name_and_mac.mac = vec![2, 0, 0, 0, 0, 1];
        let mut other_kind = interface(2, "eth0", true);
        other_kind.kind = LinkKind::Bare;
        for another in [other_name_and_mac, other_kind] {
            let mut table = table();
            table.observe(Event::Present(interface(2, "eth0", true)));
            assert_eq!(
                table.observe(dump(vec![another.clone()])),
                [Change::Stop(2), Change::Start(another)]
            );
        }
    }

    #[test]
    fn a_dump_heals_what_was_missed() {
        let mut table = table();
        table.observe(Event::Present(interface(2, "eth0", true)));
        let eth1 = interface(3, "eth1", true);
        assert_eq!(
            table.observe(dump(vec![eth1.clone()])),
            [Change::Stop(2), Change::Start(eth1)]
        );
    }

    #[test]
    fn an_interface_that_could_not_be_attached_is_tried_again() {
        let mut table = table();
        let eth0 = interface(2, "eth0", true);
        table.observe(Event::Present(eth0.clone()));
        table.forget(2);
        assert_eq!(table.wanted().collect::<Vec<_>>(), [&eth0]);
        assert_eq!(
            table.observe(dump(vec![eth0.clone()])),
            [Change::Start(eth0)]
        );
    }

    #[test]
    fn an_interface_is_watched_while_one_of_its_addresses_lies_in_a_prefix() {
        let mut table = table_of(&["198.18.0.0/15"]);
        let eth0 = interface(2, "eth0", true);
        assert_eq!(table.observe(Event::Present(eth0.clone())), []);
        for other in [address(2, "192.0.2.1"), address(3, "198.18.0.1")] {
            assert_eq!(table.observe(Event::Address(other)), []);
        }
        let (first, second) = (address(2, "198.18.0.1"), address(2, "198.19.0.1"));
        assert_eq!(
            table.observe(Event::Address(first)),
            [Change::Start(eth0.clone())]
        );
        assert_eq!(table.observe(Event::Address(second)), []);
        assert_eq!(table.observe(Event::AddressGone(first)), []);
        assert_eq!(table.observe(Event::AddressGone(second)), [Change::Stop(2)]);
    }

    #[test]
    fn addresses_go_with_their_interface() {
        let mut table = table_of(&["198.18.0.0/15"]);
        let eth0 = interface(2, "eth0", true);
        table.observe(Event::Address(address(2, "198.18.0.1")));
        table.observe(Event::Present(eth0.clone()));
        assert_eq!(table.observe(Event::Gone(2)), [Change::Stop(2)]);
        assert_eq!(table.observe(Event::Present(eth0)), []);
    }

    #[test]
    fn a_dump_replaces_all_addresses() {
        let mut table = table_of(&["2001:db8::/32"]);
        let eth0 = interface(2, "eth0", true);
        let with = |addresses| Event::Dump {
            interfaces: vec![eth0.clone()],
            addresses,
        };
        assert_eq!(
            table.observe(with(vec![address(2, "2001:db8::1")])),
            [Change::Start(eth0.clone())]
        );
        assert_eq!(table.observe(with(vec![])), [Change::Stop(2)]);
    }
}
