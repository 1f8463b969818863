//! Everything that is stored of botnets, read at one moment.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use anyhow::{Context as _, Result, bail};

use super::{
    answer::Figures,
    ledger::{Seen, Sightings},
    log::FAMILIES,
    site::Site,
};

/// One statement, and so one snapshot, while clients go on.
const EVERYTHING: &str = "
    SELECT 'piece', f.name, u.key, chunk, first_line, lines, accepted, duplicate, rejected
    FROM botnet_chunks c
    JOIN botnet_uploads u ON u.family_id = c.family_id AND u.upload_id = c.upload_id
    JOIN botnet_families f ON f.family_id = c.family_id
    UNION ALL
    SELECT 'finished', f.name, key, NULL, NULL, NULL, NULL, NULL, NULL
    FROM botnet_uploads u JOIN botnet_families f USING (family_id) WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT 'node', f.name, host(ip), place_id, communications, floor(extract(epoch FROM first_seen))::int8,
           floor(extract(epoch FROM last_seen))::int8, NULL, NULL
    FROM botnet_nodes n JOIN botnet_families f USING (family_id)
    UNION ALL
    SELECT 'seen', f.name, host(ip), NULL, sum(count)::int8, floor(extract(epoch FROM min(first_seen)))::int8,
           floor(extract(epoch FROM max(last_seen)))::int8, extract(epoch FROM bucket)::int8, NULL
    FROM botnet_communications c JOIN botnet_families f USING (family_id)
    GROUP BY f.name, ip, bucket
    UNION ALL
    SELECT 'place', f.name, '', place_id, sum(nodes)::int8, sum(communications)::int8, NULL, NULL, NULL
    FROM (
        SELECT family_id, place_id, nodes, communications FROM botnet_statistics
        UNION ALL
        SELECT family_id, d.* FROM botnet_deltas, unnest(place_ids, nodes, communications) d
    ) changes JOIN botnet_families f USING (family_id)
    GROUP BY f.name, place_id";

/// A piece of a log that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub index: u64,
    pub first_line: u64,
    pub figures: Figures,
}

/// A node as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub place: u64,
    pub sightings: Sightings,
}

/// Nodes and their communications at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub nodes: i64,
    pub communications: i64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Stored {
    /// By key of the log, in their order.
    pub pieces: BTreeMap<String, Vec<Piece>>,
    /// Keys of logs that came to their end.
    pub finished: Vec<String>,
    pub nodes: HashMap<(&'static str, IpAddr), Node>,
    pub seen: HashMap<Seen, Sightings>,
    /// Statistics as they are read: those that are folded, and what is not folded yet.
    pub places: HashMap<(&'static str, u64), Amounts>,
}

impl Stored {
    /// Reads it.
    pub fn read(site: &Site) -> Result<Self> {
        let mut stored = Self::default();
        for row in site.sql(EVERYTHING)?.lines() {
            stored.add(row).with_context(|| row.to_owned())?;
        }
        for pieces in stored.pieces.values_mut() {
            pieces.sort_unstable_by_key(|piece| piece.index);
        }
        Ok(stored)
    }

    fn add(&mut self, row: &str) -> Result<()> {
        let columns: Vec<&str> = row.split('|').collect();
        let [kind, family, name, numbers @ ..] = columns.as_slice() else {
            bail!("too few columns");
        };
        let family = FAMILIES
            .into_iter()
            .find(|known| known == family)
            .context("nobody sent anything of this family")?;
        let number = |index: usize| numbers[index].parse::<u64>();
        let sightings = || -> Result<Sightings> {
            Ok(Sightings {
                count: number(1)?,
                first: number(2)?,
                last: number(3)?,
            })
        };
        match *kind {
            "piece" => {
                let piece = Piece {
                    index: number(0)?,
                    first_line: number(1)?,
                    figures: Figures {
                        lines: number(2)?,
                        accepted: number(3)?,
                        duplicate: number(4)?,
                        rejected: number(5)?,
                    },
                };
                self.pieces
                    .entry((*name).to_owned())
                    .or_default()
                    .push(piece);
            }
            "finished" => self.finished.push((*name).to_owned()),
            "node" => {
                let node = Node {
                    place: number(0)?,
                    sightings: sightings()?,
                };
                self.nodes.insert((family, name.parse()?), node);
            }
            "seen" => {
                let seen = (family, name.parse()?, number(4)?);
                self.seen.insert(seen, sightings()?);
            }
            "place" => {
                let amounts = Amounts {
                    nodes: numbers[1].parse()?,
                    communications: numbers[2].parse()?,
                };
                self.places.insert((family, number(0)?), amounts);
            }
            _ => bail!("an unknown kind of row"),
        }
        Ok(())
    }
}
