//! The flows that are alive, and when each becomes a record.

use std::{collections::BTreeMap, hash::Hash, time::Duration};

use netmon_common::{
    counters::Counters,
    flow::{Flow, FlowKey, FlowKey4, FlowKey6, FlowValue},
};

use super::table::Table;

/// Bounds of the book.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most flows remembered, each family for itself; further ones become records at once.
    pub max_entries: usize,
    /// A flow without a packet for this long has ended.
    pub idle_timeout: Duration,
    /// A flow that goes on for longer becomes a record each time.
    pub active_timeout: Duration,
}

/// Why a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Nothing came for the idle time-out.
    Idle,
    /// The flow goes on, and the active time-out is over.
    Active,
    /// The book was full: the flow was evicted with what was known of it.
    Evicted,
    /// The agent stops, or no longer watches the interface.
    Stopped,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Active, Self::Evicted, Self::Stopped];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Evicted => "evicted",
            Self::Stopped => "stopped",
        }
    }
}

/// A flow, or a part of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The flow.
    pub flow: Flow,
    /// Why now.
    pub end: End,
}

/// What the book has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Flows that were not known before.
    pub born: u64,
    /// Records by [`End`], in the order of its list.
    pub records: [u64; 4],
    /// What all records hold together.
    pub recorded: Counters,
}

/// Every flow that is alive.
#[derive(Debug)]
pub struct Book {
    v4: Table<FlowKey4>,
    v6: Table<FlowKey6>,
    limits: Limits,
    tally: Tally,
    /// What flows on an interface sum up to, both directions together.
    interfaces: BTreeMap<u32, Counters>,
}

impl Book {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            v4: Table::new(),
            v6: Table::new(),
            limits,
            tally: Tally::default(),
            interfaces: BTreeMap::new(),
        }
    }

    /// Adds what the kernel saw of a flow since it was last asked. Gives a record if there is no
    /// room for the flow.
    pub fn observe(&mut self, key: FlowKey, seen: &FlowValue) -> Option<Record> {
        *self.interfaces.entry(key.ifindex()).or_default() += seen.total();
        let room = self.limits.max_entries;
        let (born, kept) = match key {
            FlowKey::V4(key) => remember(&mut self.v4, key, seen, room),
            FlowKey::V6(key) => remember(&mut self.v6, key, seen, room),
        };
        self.tally.born += u64::from(born);
        (!kept).then(|| self.tally.record(Flow::new(key, seen), End::Evicted))
    }

    /// Records of what is idle, or was not recorded for long. `now_ns` is the monotonic clock.
    pub fn expire(&mut self, now_ns: u64, mut each: impl FnMut(Record)) {
        let Self {
            v4,
            v6,
            limits,
            tally,
            ..
        } = self;
        expire(v4, FlowKey::V4, limits, now_ns, |flow, end| {
            each(tally.record(flow, end));
        });
        expire(v6, FlowKey::V6, limits, now_ns, |flow, end| {
            each(tally.record(flow, end));
        });
    }

    /// Records of everything that is left on the interfaces that `is_over` holds for.
    pub fn finish(&mut self, is_over: impl Fn(u32) -> bool, mut each: impl FnMut(Record)) {
        let Self { v4, v6, tally, .. } = self;
        let mut end = |flow| each(tally.record(flow, End::Stopped));
        finish(v4, FlowKey::V4, &is_over, &mut end);
        finish(v6, FlowKey::V6, &is_over, &mut end);
    }

    /// What flows on an interface sum up to.
    pub fn interface_total(&self, ifindex: u32) -> Counters {
        self.interfaces.get(&ifindex).copied().unwrap_or_default()
    }

    /// Forgets the sum of an interface that is gone, since its index may become another's, and gives
    /// it.
    pub fn forget_interface(&mut self, ifindex: u32) -> Counters {
        self.interfaces.remove(&ifindex).unwrap_or_default()
    }

    /// The running totals.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// How many flows are alive.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tally {
    fn record(&mut self, flow: Flow, end: End) -> Record {
        self.records[end as usize] += 1;
        self.recorded += flow.total();
        Record { flow, end }
    }
}

/// Whether the flow is new, and whether there was room.
fn remember<K: Copy + Hash + Eq>(
    flows: &mut Table<K>,
    key: K,
    seen: &FlowValue,
    room: usize,
) -> (bool, bool) {
    if flows.update(&key, |known| known.absorb(seen)) {
        return (false, true);
    }
    let kept = flows.len() < room;
    if kept {
        flows.insert(key, seen);
    }
    (true, kept)
}

fn finish<K: Copy + Hash + Eq>(
    flows: &mut Table<K>,
    wrap: impl Fn(K) -> FlowKey,
    is_over: impl Fn(u32) -> bool,
    mut each: impl FnMut(Flow),
) {
    flows.retain(|key, value| {
        let key = wrap(*key);
        if !is_over(key.ifindex()) {
            return true;
        }
        if value.is_counted() {
            each(Flow::new(key, value));
        }
        false
    });
}

fn expire<K: Copy + Hash + Eq>(
    flows: &mut Table<K>,
    wrap: impl Fn(K) -> FlowKey,
    limits: &Limits,
    now_ns: u64,
    mut each: impl FnMut(Flow, End),
) {
    let is_over = |since_ns: u64, limit: Duration| {
        u128::from(now_ns.saturating_sub(since_ns)) >= limit.as_nanos()
    };
    flows.retain(|key, value| {
        let idle = is_over(value.last_seen_ns, limits.idle_timeout);
        if value.is_counted() && (idle || is_over(value.first_seen_ns, limits.active_timeout)) {
            let end = if idle { End::Idle } else { End::Active };
            each(Flow::new(wrap(*key), value), end);
            *value = value.continued();
        }
        !idle
    });
}

#[cfg(test)]
mod tests {
    use netmon_common::flow::{FlowTable, Sighting};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limits(max_entries: usize) -> Limits {
        Limits {
            max_entries,
            idle_timeout: Duration::from_secs(30),
            active_timeout: Duration::from_secs(120),
        }
    }

    fn key(port: u16) -> FlowKey {
        let (key, _) = FlowKey4::new(([10, 0, 0, 1], port), ([10, 0, 0, 2], 53), 3, [0; 2], 17);
        FlowKey::V4(key)
    }

    fn seen(at_s: u64) -> FlowValue {
        let passed = Counters::from_words([1, 100, 1, 100]);
        let side = netmon_common::flow::Side::Low;
        FlowValue::first(&Sighting::default(), side, passed, at_s * SECOND, 0)
    }

    fn expired(book: &mut Book, now_s: u64) -> Vec<Record> {
        let mut records = Vec::new();
        book.expire(now_s * SECOND, |record| records.push(record));
        records
    }

    #[test]
    fn an_idle_flow_becomes_one_record_with_everything() {
        let mut book = Book::new(limits(8));
        for at_s in [1, 6, 11] {
            assert_eq!(book.observe(key(1), &seen(at_s)), None);
            assert!(expired(&mut book, at_s + 1).is_empty());
        }
        let records = expired(&mut book, 41);
        assert_eq!((records.len(), records[0].end), (1, End::Idle));
        let flow = records[0].flow;
        assert_eq!(flow.total().packets, 3);
        assert_eq!(
            (flow.first_seen_ns, flow.last_seen_ns),
            (SECOND, 11 * SECOND)
        );
        assert!(book.is_empty());
        assert_eq!(book.tally().born, 1);
    }

    #[test]
    fn a_long_flow_becomes_several_records_that_add_up() {
        let mut book = Book::new(limits(8));
        let (mut packets, mut times) = (0, Vec::new());
        for at_s in (0..300).step_by(10) {
            book.observe(key(1), &seen(at_s));
            for record in expired(&mut book, at_s) {
                assert_eq!(record.end, End::Active);
                packets += record.flow.total().packets;
                times.push((record.flow.first_seen_ns, record.flow.last_seen_ns));
            }
        }
        // Each from its own first packet on.
        let seconds = [(0, 120), (130, 250)].map(|(from, to)| (from * SECOND, to * SECOND));
        assert_eq!(times, seconds);
        let rest = expired(&mut book, 400);
        assert_eq!((rest.len(), rest[0].end), (1, End::Idle));
        assert_eq!(packets + rest[0].flow.total().packets, 30);
        assert_eq!(book.tally().born, 1);
        assert_eq!(book.tally().recorded.packets, 30);
    }

    #[test]
    fn a_flow_that_was_just_recorded_ends_without_an_empty_record() {
        let mut book = Book::new(limits(8));
        book.observe(key(1), &seen(0));
        book.observe(key(1), &seen(120));
        assert_eq!(expired(&mut book, 121)[0].end, End::Active);
        assert!(expired(&mut book, 160).is_empty());
        assert!(book.is_empty());
    }

    #[test]
    fn what_finds_no_room_becomes_a_record_at_once() {
        let mut book = Book::new(limits(1));
        assert_eq!(book.observe(key(1), &seen(0)), None);
        let evicted = book.observe(key(2), &seen(0)).unwrap();
        assert_eq!(evicted.end, End::Evicted);
        assert_eq!(evicted.flow.total().packets, 1);
        assert_eq!(book.interface_total(3).packets, 2);
        let mut left = Vec::new();
        book.finish(|ifindex| ifindex == 3, |record| left.push(record));
        assert_eq!((left.len(), left[0].end), (1, End::Stopped));
        assert_eq!(book.tally().recorded, book.interface_total(3));
        assert_eq!(book.forget_interface(3).packets, 2);
        assert_eq!(book.interface_total(3).packets, 0);
    }

    #[test]
    fn a_table_of_user_space_feeds_the_book_as_the_kernel_does() {
        let mut table = FlowTable::new(8);
        let passed = Counters::from_words([1, 60, 1, 60]);
        let side = netmon_common::flow::Side::Low;
        table.observe((key(7), side), &Sighting::default(), passed, 5);
        assert_eq!(table.get(&key(7)).map(|flow| flow.total()), Some(passed));
    }
}
