//! A list on its way from server to agent: whole, or as the difference from one that the agent holds,
//! in pieces that fit the control stream.

use std::{sync::Arc, vec::Vec};

use super::{
    Change, Digest, List, MAX_SERVED,
    coded::{decode4, decode6, encode4, encode6},
    list::{Entry4, Entry6},
};
use crate::wire::{WatchEntries, WatchState, WatchUpdate};

/// Entries of a piece: of six octets each at most …
const PIECE4: usize = 8192;
/// … and of 17.
const PIECE6: usize = 2048;

/// A list as an agent holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one, in the words of the server it is from; 0: none was ever told.
    pub version: u64,
    /// Names the content.
    pub digest: Digest,
    /// The content.
    pub list: Arc<List>,
}

/// An update is of no use; the agent goes on with the list it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Octets that are no entries.
    #[error("a piece of the watch list is no list of addresses")]
    Malformed,
    /// It changes another list than the one held.
    #[error("the update changes another watch list than the one held")]
    OtherList,
    /// A piece of another update came before the last one of this.
    #[error("pieces of two updates of the watch list are mixed")]
    Mixed,
    /// More entries than a server may have watched.
    #[error("the watch list has more than {MAX_SERVED} entries")]
    TooLong,
    /// What came of it is not what the server says.
    #[error("the updated watch list is not the one that the server has")]
    Differs,
}

/// Collects the pieces of an update.
#[derive(Debug, Default)]
pub struct Assembly {
    /// The update that has begun: its list, and the one it changes.
    begun: Option<(Digest, Option<Digest>)>,
    removed: Entries,
    added: Entries,
}

#[derive(Debug, Default)]
struct Entries {
    v4: Vec<Entry4>,
    v6: Vec<Entry6>,
}

impl Held {
    /// A list of this version.
    pub fn new(version: u64, list: List) -> Self {
        Self {
            version,
            digest: list.digest(),
            list: Arc::new(list),
        }
    }

    /// What an agent says of it.
    pub fn state(&self) -> WatchState {
        WatchState {
            version: self.version,
            digest: self.digest.octets().to_vec(),
            entries: self.list.len() as u64,
            ..WatchState::default()
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new(0, List::default())
    }
}

/// The pieces that tell of a list. `change` is what makes it of the list with the digest `from`, or of
/// none.
pub fn update(next: &Held, from: Option<Digest>, change: &Change) -> Vec<WatchUpdate> {
    let mut pieces: Vec<WatchUpdate> = parts(&change.removed)
        .map(|removed| WatchUpdate {
            removed: Some(removed),
            ..WatchUpdate::default()
        })
        .chain(parts(&change.added).map(|added| WatchUpdate {
            added: Some(added),
            ..WatchUpdate::default()
        }))
        .collect();
    if pieces.is_empty() {
        pieces.push(WatchUpdate::default());
    }
    let last = pieces.len() - 1;
    for (at, piece) in pieces.iter_mut().enumerate() {
        piece.version = next.version;
        piece.digest = next.digest.octets().to_vec();
        piece.from = from.map(|from| from.octets().to_vec()).unwrap_or_default();
        piece.last = at == last;
    }
    pieces
}

fn parts(list: &List) -> impl Iterator<Item = WatchEntries> {
    let v4 = list.v4().chunks(PIECE4).map(|entries| {
        let mut octets = Vec::new();
        encode4(entries, &mut octets);
        WatchEntries {
            v4: octets,
            ..WatchEntries::default()
        }
    });
    let v6 = list.v6().chunks(PIECE6).map(|entries| {
        let mut octets = Vec::new();
        encode6(entries, &mut octets);
        WatchEntries {
            v6: octets,
            ..WatchEntries::default()
        }
    });
    v4.chain(v6)
}

impl Assembly {
    /// Takes a piece; after the last one gives the list that came of `held`.
    ///
    /// # Errors
    /// [`UpdateError`]: what was collected is forgotten.
    pub fn take(&mut self, held: &Held, piece: &WatchUpdate) -> Result<Option<Held>, UpdateError> {
        let taken = self.try_take(held, piece);
        if !matches!(taken, Ok(None)) {
            *self = Self::default();
        }
        taken
    }

    fn try_take(&mut self, held: &Held, piece: &WatchUpdate) -> Result<Option<Held>, UpdateError> {
        let digest = Digest::parse(&piece.digest).ok_or(UpdateError::Malformed)?;
        let from = match piece.from.as_slice() {
            [] => None,
            octets => Some(Digest::parse(octets).ok_or(UpdateError::Malformed)?),
        };
        if from.is_some_and(|from| from != held.digest) {
            return Err(UpdateError::OtherList);
        }
        if self.begun.is_some_and(|begun| begun != (digest, from)) {
            return Err(UpdateError::Mixed);
        }
        self.begun = Some((digest, from));
        self.removed.take(piece.removed.as_ref())?;
        self.added.take(piece.added.as_ref())?;
        if !piece.last {
            return Ok(None);
        }
        let change = Change {
            removed: std::mem::take(&mut self.removed).list(),
            added: std::mem::take(&mut self.added).list(),
        };
        let list = match from {
            Some(_) => held.list.changed(&change),
            None => change.added,
        };
        if list.len() > MAX_SERVED {
            return Err(UpdateError::TooLong);
        }
        let next = Held::new(piece.version, list);
        if next.digest != digest {
            return Err(UpdateError::Differs);
        }
        Ok(Some(next))
    }
}

impl Entries {
    fn take(&mut self, entries: Option<&WatchEntries>) -> Result<(), UpdateError> {
        let Some(WatchEntries { v4, v6 }) = entries else {
            return Ok(());
        };
        decode4(v4, &mut self.v4).ok_or(UpdateError::Malformed)?;
        decode6(v6, &mut self.v6).ok_or(UpdateError::Malformed)?;
        if self.v4.len() + self.v6.len() > MAX_SERVED {
            return Err(UpdateError::TooLong);
        }
        Ok(())
    }

    /// Pieces are in order by themselves, and as a rule so are they among each other.
    fn list(mut self) -> List {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
        List::of_sorted(self.v4, self.v6)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{watch::Prefix, wire::MAX_CONTROL_BYTES};

    fn addresses(numbers: impl Iterator<Item = u32>) -> List {
        numbers
            .map(|number| {
                let address = number.wrapping_mul(2_654_435_761).to_be_bytes();
                match number % 4 {
                    0 => Prefix::host((u128::from(number) << 64).to_be_bytes().into()),
                    _ => Prefix::host(address.into()),
                }
            })
            .collect()
    }

    fn taken(held: &Held, pieces: &[WatchUpdate]) -> Result<Option<Held>, UpdateError> {
        let mut assembly = Assembly::default();
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            assert_eq!(assembly.take(held, piece), Ok(None));
        }
        assembly.take(held, last)
    }

    #[test]
    fn a_list_arrives_whole_in_pieces_that_fit_the_control_stream() {
        let next = Held::new(7, addresses(0..40_000));
        let whole = Change {
            added: (*next.list).clone(),
            ..Change::default()
        };
        let pieces = update(&next, None, &whole);
        assert!(pieces.len() > 4);
        for piece in &pieces {
            assert!(piece.encoded_len() + 64 < MAX_CONTROL_BYTES);
        }
        // Whatever the agent holds.
        let other = Held::new(3, addresses(5..9));
        assert_eq!(taken(&other, &pieces), Ok(Some(next)));
    }

    #[test]
    fn a_difference_makes_the_new_list_of_the_one_held() {
        let held = Held::new(7, addresses(0..30_000));
        let next = Held::new(8, addresses(20_000..50_000));
        let pieces = update(&next, Some(held.digest), &held.list.change_to(&next.list));
        assert_eq!(taken(&held, &pieces), Ok(Some(next.clone())));
        let other = Held::new(7, addresses(0..29_999));
        let first = &pieces[..1];
        assert_eq!(taken(&other, first), Err(UpdateError::OtherList));
        // Emptied, and of nothing.
        let empty = Held::new(9, List::default());
        let pieces = update(&empty, Some(next.digest), &next.list.change_to(&empty.list));
        assert_eq!(taken(&next, &pieces), Ok(Some(empty)));
    }

    #[test]
    fn what_is_not_as_the_server_says_is_not_used() {
        let next = Held::new(7, addresses(0..20));
        let whole = Change {
            added: addresses(0..19),
            ..Change::default()
        };
        let wrong = update(&next, None, &whole);
        let held = Held::default();
        assert_eq!(taken(&held, &wrong), Err(UpdateError::Differs));
        let mut assembly = Assembly::default();
        let piece = |number: u64| WatchUpdate {
            version: number,
            digest: [number as u8; 16].to_vec(),
            ..WatchUpdate::default()
        };
        assert_eq!(assembly.take(&held, &piece(1)), Ok(None));
        assert_eq!(assembly.take(&held, &piece(2)), Err(UpdateError::Mixed));
        // What was begun is forgotten.
        assert_eq!(assembly.take(&held, &piece(2)), Ok(None));
        let bad = WatchUpdate {
            added: Some(WatchEntries {
                v6: [7; 5].to_vec(),
                ..WatchEntries::default()
            }),
            ..piece(2)
        };
        assert_eq!(assembly.take(&held, &bad), Err(UpdateError::Malformed));
    }
}
