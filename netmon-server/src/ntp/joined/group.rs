//! Which sightings are of one exchange.
//!
//! An answered exchange is known by its request's transmit timestamp and by the server's two
//! timestamps together: a client that sends one transmit timestamp again and again gets other times
//! each time. Between addresses that differ (a NAT, a virtual address of servers) only these count.
//! Where there is no answer, the 5-tuple and a transmit timestamp count that nobody repeats within the
//! tolerance; where somebody does, nothing is joined.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::sighting::{Path, RowKey, Sighting};

/// What sightings together are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One exchange, seen at several places.
    Joined,
    /// Seen at one place.
    Alone,
    /// Of several exchanges that nothing tells apart.
    Ambiguous,
}

/// Sightings that belong together.
#[derive(Debug)]
pub struct Group {
    pub kind: Kind,
    pub sightings: Vec<Sighting>,
}

impl Group {
    /// Of the newest sighting: the place of the exchange in lists.
    pub fn newest(&self) -> Option<RowKey> {
        self.sightings.iter().map(|sighting| sighting.key).max()
    }

    fn new(sightings: Vec<Sighting>) -> Self {
        let kind = match sightings.len() {
            1 => Kind::Alone,
            _ if is_once_each(&sightings) => Kind::Joined,
            _ => Kind::Ambiguous,
        };
        Self { kind, sightings }
    }

    fn holds(&self, other: &[Sighting]) -> bool {
        let places: HashSet<_> = self.sightings.iter().map(|s| &s.place).collect();
        other.iter().any(|s| places.contains(&s.place))
    }

    /// How far the times of two groups are apart, microseconds.
    fn distance(&self, other: &[Sighting]) -> u64 {
        let ((first, last), (begin, end)) = (times(&self.sightings), times(other));
        let gap = begin.saturating_sub(last).max(first.saturating_sub(end));
        gap.max(0).unsigned_abs()
    }
}

/// Puts together what belongs together. Sightings of one exchange lie within `tolerance_us` of each
/// other.
pub fn group(sightings: Vec<Sighting>, tolerance_us: u64) -> Vec<Group> {
    let mut answered: HashMap<_, Vec<Sighting>> = HashMap::new();
    let mut open: HashMap<(Path, u64), Vec<Sighting>> = HashMap::new();
    let mut groups = Vec::new();
    for sighting in merged(sightings) {
        match sighting.identity() {
            Some(identity) => {
                let path = (!sighting.outlives_translation()).then_some(sighting.path);
                answered.entry((identity, path)).or_default().push(sighting);
            }
            None if sighting.cookie == 0 => groups.push(Group::new(vec![sighting])),
            None => {
                let key = (sighting.path, sighting.cookie);
                open.entry(key).or_default().push(sighting);
            }
        }
    }
    for same in answered.into_values() {
        for near in clusters(same, tolerance_us) {
            match is_once_each(&near) {
                true => groups.push(Group::new(near)),
                false => groups.extend(by_path(near).map(Group::new)),
            }
        }
    }
    let mut of_path: HashMap<(Path, u64), HashSet<usize>> = HashMap::new();
    for (number, group) in groups.iter().enumerate() {
        for sighting in &group.sightings {
            let key = (sighting.path, sighting.cookie);
            of_path.entry(key).or_default().insert(number);
        }
    }
    for (key, same) in open {
        for near in clusters(same, tolerance_us) {
            let known = of_path.get(&key).into_iter().flatten().copied();
            let known: Vec<usize> = known
                .filter(|number| groups[*number].distance(&near) <= tolerance_us)
                .collect();
            match known.as_slice() {
                [] => groups.push(Group::new(near)),
                // Its answer was not seen here, or was lost on the way.
                [one] if !groups[*one].holds(&near) && is_once_each(&near) => {
                    let mut all = std::mem::take(&mut groups[*one].sightings);
                    all.extend(near);
                    groups[*one] = Group::new(all);
                }
                _ => groups.push(Group {
                    kind: Kind::Ambiguous,
                    sightings: near,
                }),
            }
        }
    }
    groups
}

/// Makes one of the two rows that a request has whose answer came after its time-out.
fn merged(sightings: Vec<Sighting>) -> Vec<Sighting> {
    let mut merged: Vec<Sighting> = Vec::with_capacity(sightings.len());
    let mut requests = HashMap::new();
    for sighting in sightings {
        let Some(requested_at_ns) = sighting.requested_at_ns else {
            merged.push(sighting);
            continue;
        };
        let place = sighting.place.clone();
        match requests.entry((place, sighting.path, sighting.cookie, requested_at_ns)) {
            Entry::Vacant(first) => {
                first.insert(merged.len());
                merged.push(sighting);
            }
            Entry::Occupied(first) => {
                let other = &mut merged[*first.get()];
                let key = other.key.max(sighting.key);
                if other.answered_at_ns.is_none() {
                    *other = sighting;
                }
                other.key = key;
            }
        }
    }
    merged
}

/// Whether each place saw it once.
fn is_once_each(sightings: &[Sighting]) -> bool {
    let places: HashSet<_> = sightings.iter().map(|sighting| &sighting.place).collect();
    places.len() == sightings.len()
}

/// Splits, from the newest on, where sightings are further from the newest than the tolerance.
fn clusters(mut sightings: Vec<Sighting>, tolerance_us: u64) -> Vec<Vec<Sighting>> {
    sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.key));
    let mut clusters: Vec<Vec<Sighting>> = Vec::new();
    for sighting in sightings {
        match clusters.last_mut() {
            Some(near) if near[0].at_us().abs_diff(sighting.at_us()) <= tolerance_us => {
                near.push(sighting);
            }
            _ => clusters.push(vec![sighting]),
        }
    }
    clusters
}

fn by_path(sightings: Vec<Sighting>) -> impl Iterator<Item = Vec<Sighting>> {
    let mut paths: HashMap<Path, Vec<Sighting>> = HashMap::new();
    for sighting in sightings {
        paths.entry(sighting.path).or_default().push(sighting);
    }
    paths.into_values()
}

fn times(sightings: &[Sighting]) -> (i64, i64) {
    let times = sightings.iter().map(Sighting::at_us);
    let (first, last) = (times.clone().min(), times.max());
    (first.unwrap_or(0), last.unwrap_or(0))
}
