//! Detail levels: every exchange as it is, or those of one client and one server within a window
//! counted together.
//!
//! Pure bookkeeping on (exchange, now). Nothing is lost on the way: an exchange is handed over whole,
//! or within exactly one fold. A window lies within an hour of the wall clock, which is what a server
//! sums up, and is handed over when nothing more is to be expected of it.
//!
//! Memory is bounded by the number of folds. When there is no room, the oldest window ends early.

mod entry;
mod figures;
mod level;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map},
    net::IpAddr,
    time::Duration,
};

use self::level::Level;
pub use self::{entry::Folded, figures::Figures, level::Detail};
use super::{Exchange, Finding, Match, Scope, Throttle};
use crate::clock::Now;

/// Folds of ended windows handed over in a second: some 15 MB.
const PER_SECOND: u64 = 40_000;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// How exchanges are folded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether they are.
    pub detail: Detail,
    /// By rate: above so many exchanges a second.
    pub above: u32,
    /// Length of a window; an hour is a multiple of it.
    pub window: Duration,
    /// So long after a window's end exchanges that began in it may still become complete.
    pub grace: Duration,
    /// Most folds at a time.
    pub max_folds: usize,
}

/// What comes out.
#[derive(Debug)]
pub enum Record {
    /// As it is.
    Exchange(Box<Finding>),
    /// Two or more together.
    Fold(Box<Folded>),
}

/// What has become of exchanges: running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Handed over as they were.
    pub whole: u64,
    /// Handed over within folds.
    pub folded: u64,
    /// These folds.
    pub folds: u64,
    /// Folds that ended before their window did because there was no room for another one …
    pub table_full: u64,
    /// … or because they had too many different values or exchanges.
    pub fold_full: u64,
    /// Folded although they would be worth a record of their own: there were too many.
    pub notable_folded: u64,
}

/// The open folds.
#[derive(Debug)]
pub struct Fold {
    settings: Settings,
    level: Level,
    /// By the begin of the window, ns since 1970.
    windows: BTreeMap<i64, HashMap<Key, Folded>>,
    /// Windows that have ended, to be handed over.
    ended: VecDeque<hash_map::IntoIter<Key, Folded>>,
    /// Folds in both.
    folds: usize,
    /// Exchanges in these.
    exchanges: u64,
    notable: Throttle,
    /// When [`Self::due`] was called last.
    due_ns: u64,
    server_stores_folds: bool,
    shares: Shares,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    scope: Scope,
    client: IpAddr,
    server: IpAddr,
    /// Somebody was asked: what the server knows of its clients comes from these.
    is_asked: bool,
}

impl Key {
    fn of(exchange: &Exchange) -> Self {
        Self {
            scope: exchange.scope,
            client: exchange.client.ip(),
            server: exchange.server.ip(),
            is_asked: match exchange.kind {
                Match::Broadcast => false,
                Match::Symmetric => exchange.request.is_some(),
                _ => true,
            },
        }
    }
}

impl Fold {
    /// Nothing yet. Until a server says that it stores folds there are none.
    pub fn new(settings: Settings, now_ns: u64) -> Self {
        Self {
            settings,
            level: Level::new(settings.detail, settings.above),
            windows: BTreeMap::new(),
            ended: VecDeque::new(),
            folds: 0,
            exchanges: 0,
            notable: Throttle::new(now_ns),
            due_ns: now_ns,
            server_stores_folds: false,
            shares: Shares::default(),
        }
    }

    /// Says whether the server that was connected last stores folds.
    pub fn set_server_stores_folds(&mut self, stores: bool) {
        self.server_stores_folds = stores;
    }

    /// Whether exchanges are folded now.
    pub fn is_folding(&self) -> bool {
        self.server_stores_folds && self.level.is_folding()
    }

    /// What has become of exchanges.
    pub fn shares(&self) -> Shares {
        self.shares
    }

    /// Folds that are not handed over yet, and the exchanges in them.
    pub fn open(&self) -> (usize, u64) {
        (self.folds, self.exchanges)
    }

    /// Takes an exchange; hands over what it completes or what has to make room for it.
    pub fn add(&mut self, finding: Box<Finding>, now: Now, emit: &mut impl FnMut(Record)) {
        self.level.count(now.monotonic_ns);
        if !self.is_folding() || finding.exchange.kind.is_extra() {
            self.hand_over_whole(finding, emit);
            return;
        }
        if is_notable(&finding.exchange) {
            if self.notable.allow(now.monotonic_ns) {
                self.hand_over_whole(finding, emit);
                return;
            }
            self.shares.notable_folded += 1;
        }
        self.fold(finding, emit);
    }

    fn fold(&mut self, finding: Box<Finding>, emit: &mut impl FnMut(Record)) {
        let key = Key::of(&finding.exchange);
        let start_ns = self.window_of(&finding.exchange);
        let is_there = |folds: &HashMap<Key, Folded>| folds.contains_key(&key);
        if self.folds >= self.settings.max_folds
            && !self.windows.get(&start_ns).is_some_and(is_there)
        {
            self.make_room(emit);
        }
        self.exchanges += 1;
        let window = self.windows.entry(start_ns).or_default();
        match window.entry(key) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Folded::new(finding));
                self.folds += 1;
            }
            hash_map::Entry::Occupied(mut occupied) => {
                occupied.get_mut().add(finding);
                if occupied.get().figures.is_full() {
                    let folded = occupied.remove();
                    self.shares.fold_full += 1;
                    self.hand_over(folded, emit);
                }
            }
        }
    }

    /// Hands over what is due, but no more than the spool can write in the meantime: what is left waits
    /// for the next call.
    pub fn due(&mut self, now: Now, emit: &mut impl FnMut(Record)) {
        self.level.advance(now.monotonic_ns);
        let passed_ns = now.monotonic_ns.saturating_sub(self.due_ns);
        self.due_ns = now.monotonic_ns;
        let grace_ns = ns(self.settings.grace);
        while let Some(window) = self.windows.first_entry() {
            let end_ns = window.key().saturating_add(ns(self.settings.window));
            if end_ns.saturating_add(grace_ns) > now.unix_ns {
                break;
            }
            self.ended.push_back(window.remove().into_iter());
        }
        let most = passed_ns.min(NS_PER_SECOND) * PER_SECOND / NS_PER_SECOND;
        self.hand_over_ended(most as usize, emit);
    }

    /// Ends every window and hands over at most so many folds; gives whether that were all. For the
    /// end of the agent, and of a time of the wall clock.
    pub fn finish(&mut self, most: usize, emit: &mut impl FnMut(Record)) -> bool {
        let windows = std::mem::take(&mut self.windows);
        let windows = windows.into_values().map(HashMap::into_iter);
        self.ended.extend(windows);
        self.hand_over_ended(most, emit);
        self.folds == 0
    }

    /// The window of an exchange: of its first packet, as the server has it.
    fn window_of(&self, exchange: &Exchange) -> i64 {
        let window_ns = ns(self.settings.window).max(1);
        let at_ns = entry::first_packet_unix_ns(exchange);
        at_ns - at_ns.rem_euclid(window_ns)
    }

    /// A fold of a window that has ended goes, or one of the oldest that has not.
    fn make_room(&mut self, emit: &mut impl FnMut(Record)) {
        if self.hand_over_ended(1, emit) > 0 {
            return;
        }
        if let Some((_, oldest)) = self.windows.pop_first() {
            self.shares.table_full += oldest.len() as u64;
            self.ended.push_back(oldest.into_iter());
            self.hand_over_ended(1, emit);
        }
    }

    fn hand_over_ended(&mut self, most: usize, emit: &mut impl FnMut(Record)) -> usize {
        let mut handed_over = 0;
        while handed_over < most
            && let Some(window) = self.ended.front_mut()
        {
            match window.next() {
                Some((_, folded)) => {
                    self.hand_over(folded, emit);
                    handed_over += 1;
                }
                None => drop(self.ended.pop_front()),
            }
        }
        handed_over
    }

    fn hand_over(&mut self, folded: Folded, emit: &mut impl FnMut(Record)) {
        let exchanges = u64::from(folded.figures.exchanges);
        self.folds -= 1;
        self.exchanges -= exchanges;
        if exchanges == 1 {
            // It says more by itself and takes no more room.
            self.hand_over_whole(folded.newest, emit);
            return;
        }
        self.shares.folds += 1;
        self.shares.folded += exchanges;
        emit(Record::Fold(Box::new(folded)));
    }

    fn hand_over_whole(&mut self, finding: Box<Finding>, emit: &mut impl FnMut(Record)) {
        self.shares.whole += 1;
        emit(Record::Exchange(finding));
    }
}

/// Whether somebody will want to see it by itself: rare as long as nobody makes it often.
fn is_notable(exchange: &Exchange) -> bool {
    if matches!(
        exchange.kind,
        Match::Refused | Match::Symmetric | Match::Broadcast
    ) {
        return true;
    }
    let header = exchange.response.as_ref().map(|r| &r.content.header);
    header.is_some_and(|header| header.leap != 0 || header.is_kiss_of_death())
}

fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
