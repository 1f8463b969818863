//! The newest list, and how it came from those before.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use netmon_common::{
    watch::{Change, Digest, Held, List, update},
    wire::{Downlink, WatchUpdate, downlink},
};
use prost::Message as _;

/// Most earlier lists that are remembered.
const MAX_STEPS: usize = 1024;

/// Entries that the steps may name in any case: so a list that is short is not told whole each time.
const MIN_ENTRIES: usize = 65_536;

/// The newest list and the steps that led to it.
#[derive(Debug)]
pub(super) struct History {
    newest: Held,
    /// The latest one last.
    steps: VecDeque<Step>,
    /// Entries that all steps name.
    entries: usize,
    /// What tells of the newest list whole.
    whole: OnceLock<Arc<[Bytes]>>,
}

/// From one list to the next.
#[derive(Debug)]
struct Step {
    from: Digest,
    change: Change,
    /// What tells those that hold the one list of the newest; only of the latest step.
    told: OnceLock<Arc<[Bytes]>>,
}

/// What is to be said to an agent, as it goes out on the control stream.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    pub(super) pieces: Arc<[Bytes]>,
    /// What the agent holds then.
    pub(super) to: Digest,
    pub(super) is_whole: bool,
}

impl History {
    pub(super) fn new(newest: Held) -> Self {
        Self {
            newest,
            steps: VecDeque::new(),
            entries: 0,
            whole: OnceLock::new(),
        }
    }

    pub(super) fn newest(&self) -> &Held {
        &self.newest
    }

    /// Takes the next list; `false`: it is the one there is.
    pub(super) fn replace(&mut self, list: List, now_ms: u64) -> bool {
        let change = self.newest.list.change_to(&list);
        if change.is_empty() {
            return false;
        }
        // Versions grow, whatever the clock does.
        let next = Held::new(now_ms.max(self.newest.version + 1), list);
        if let Some(latest) = self.steps.back_mut() {
            latest.told = OnceLock::new();
        }
        self.entries += change.len();
        self.steps.push_back(Step {
            from: self.newest.digest,
            change,
            told: OnceLock::new(),
        });
        self.newest = next;
        self.whole = OnceLock::new();
        // More than the list itself says nothing that it does not say shorter.
        let most = self.newest.list.len().max(MIN_ENTRIES);
        while self.entries > most || self.steps.len() > MAX_STEPS {
            let Some(oldest) = self.steps.pop_front() else {
                break;
            };
            self.entries -= oldest.change.len();
        }
        true
    }

    /// What makes the newest list of the one held; `None`: it is that.
    pub(super) fn messages(&self, held: Option<Digest>) -> Option<Messages> {
        if held == Some(self.newest.digest) {
            return None;
        }
        let messages = |pieces, is_whole| {
            Some(Messages {
                pieces,
                to: self.newest.digest,
                is_whole,
            })
        };
        let at = self.steps.iter().rposition(|step| Some(step.from) == held);
        let Some(at) = at else {
            let whole = self.whole.get_or_init(|| {
                let change = Change {
                    added: (*self.newest.list).clone(),
                    ..Change::default()
                };
                self.pieces(None, &change)
            });
            return messages(Arc::clone(whole), true);
        };
        let first = &self.steps[at];
        if at + 1 == self.steps.len() {
            let told = &first.told;
            let pieces = told.get_or_init(|| self.pieces(held, &first.change));
            return messages(Arc::clone(pieces), false);
        }
        let mut change = first.change.clone();
        for step in self.steps.range(at + 1..) {
            change = change.then(&step.change);
        }
        messages(self.pieces(held, &change), false)
    }

    fn pieces(&self, from: Option<Digest>, change: &Change) -> Arc<[Bytes]> {
        let pieces = update(&self.newest, from, change).into_iter();
        pieces.map(encoded).collect()
    }
}

/// As it stands on the control stream.
fn encoded(piece: WatchUpdate) -> Bytes {
    let message = Downlink {
        message: Some(downlink::Message::WatchUpdate(piece)),
    };
    message.encode_length_delimited_to_vec().into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netmon_common::watch::{Assembly, Prefix};

    use super::*;

    fn list(numbers: impl Iterator<Item = u32>) -> List {
        numbers
            .map(|number| Prefix::host(Ipv4Addr::from(number).into()))
            .collect()
    }

    /// What an agent makes of messages.
    fn taken(held: &Held, messages: &Messages) -> Held {
        let mut assembly = Assembly::default();
        for piece in messages.pieces.iter() {
            let message = Downlink::decode_length_delimited(piece.clone()).unwrap();
            let Some(downlink::Message::WatchUpdate(piece)) = message.message else {
                panic!("an update");
            };
            if let Some(next) = assembly.take(held, &piece).unwrap() {
                return next;
            }
        }
        panic!("the last piece");
    }

    #[test]
    fn whoever_holds_an_earlier_list_is_told_the_difference() {
        let mut history = History::new(Held::new(1, list(0..100)));
        let mut earlier = vec![history.newest().clone()];
        for step in 1..20 {
            assert!(history.replace(list(step * 7..100 + step * 5), 2));
            earlier.push(history.newest().clone());
        }
        let newest = history.newest().clone();
        for held in &earlier[..19] {
            let messages = history.messages(Some(held.digest)).unwrap();
            assert!(!messages.is_whole);
            assert_eq!(taken(held, &messages), newest);
        }
        assert!(history.messages(Some(newest.digest)).is_none());
        assert!(!history.replace(list(19 * 7..100 + 19 * 5), 3));
        let versions: Vec<u64> = earlier.iter().map(|held| held.version).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    }

    #[test]
    fn whoever_holds_something_else_is_told_the_whole_list() {
        let history = History::new(Held::new(1, list(0..100)));
        let other = Held::new(9, list(5..6));
        for (held, digest) in [(&other, Some(other.digest)), (&Held::default(), None)] {
            let messages = history.messages(digest).unwrap();
            assert!(messages.is_whole);
            assert_eq!(taken(held, &messages), *history.newest());
        }
    }

    #[test]
    fn an_agent_without_a_list_and_a_server_without_one_agree() {
        let history = History::new(Held::new(5, List::default()));
        assert!(history.messages(Some(Held::default().digest)).is_none());
    }

    #[test]
    fn steps_that_say_more_than_the_list_are_forgotten() {
        let mut history = History::new(Held::new(1, list(0..10)));
        let first = history.newest().digest;
        history.replace(list(0..MIN_ENTRIES as u32), 2);
        assert!(!history.messages(Some(first)).unwrap().is_whole);
        history.replace(list(0..10), 3);
        assert!(history.messages(Some(first)).is_none(), "as it was");
        history.replace(list(0..11), 4);
        assert!(!history.messages(Some(first)).unwrap().is_whole, "by one");
        history.replace(list(20..20 + MIN_ENTRIES as u32), 5);
        assert!(history.messages(Some(first)).unwrap().is_whole);
        for step in 0..2 * MAX_STEPS as u32 {
            history.replace(list(step..step + 1), 6);
        }
        assert!(history.steps.len() <= MAX_STEPS);
    }
}
