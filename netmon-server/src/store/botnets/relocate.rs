//! Nodes located again, because the files of places are others than when they came.
//!
//! What these files do not know stays as it was known: a log may have said where an address is.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnetwork::IpNetwork;
use netmon_geo::{Atlas, Edition, Place};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::{
    BotnetError, Botnets, EditionId, FamilyId, commit::attempt_botnets, delta::Delta, families,
};
use crate::store::{error::counted, expire::time_duration, lease::Lease};

/// Nodes that one transaction locates again.
pub const BATCH: usize = 5_000;

/// Nodes per family that another edition located.
const OUTDATED: &str = "\
    SELECT family_id, count(*) FROM botnet_nodes WHERE edition_id <> $1
    GROUP BY family_id ORDER BY family_id";

const NEXT: &str = "\
    SELECT ip, place_id FROM botnet_nodes
    WHERE family_id = $1 AND ip > $2 AND edition_id <> $3 ORDER BY ip LIMIT $4";

const PLACES: &str = "\
    SELECT place_id, country, province, city FROM botnet_places WHERE place_id = ANY ($1)";

/// Locked in the order of all writers. Some may be gone, or located by somebody else meanwhile.
const LOCK: &str = "\
    SELECT ip, place_id, communications FROM botnet_nodes
    WHERE family_id = $1 AND ip = ANY ($2) AND edition_id <> $3 ORDER BY ip FOR UPDATE";

const UPDATE: &str = "\
    UPDATE botnet_nodes n SET place_id = r.place_id, edition_id = $2
    FROM unnest($3::inet[], $4::int4[]) AS r (ip, place_id)
    WHERE n.family_id = $1 AND n.ip = r.ip";

const DAYS: &str = "SELECT DISTINCT day FROM botnet_days WHERE family_id = $1 AND day >= $2";

/// What became of nodes that were located again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Those that are where they were, or of which the files know nothing.
    pub same: u64,
    /// Those that are elsewhere.
    pub moved: u64,
}

impl Relocated {
    /// What another step did, too.
    pub fn add(&mut self, other: Self) {
        self.same += other.same;
        self.moved += other.moved;
    }
}

/// One step through a family's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelocatedBatch {
    /// What it did.
    pub relocated: Relocated,
    /// After which address the next one begins; `None`: that was the last.
    pub next_after: Option<IpAddr>,
}

/// An atlas with its number in the database.
#[derive(Clone, Copy, Debug)]
pub struct NumberedAtlas<'a> {
    /// Where addresses are.
    pub atlas: &'a Atlas,
    /// The number of its edition.
    pub edition: EditionId,
}

#[derive(sqlx::FromRow)]
struct Node {
    ip: IpNetwork,
    place_id: i32,
    communications: i64,
}

impl Botnets {
    /// How many nodes of which families were located by another edition. Reads every node.
    ///
    /// # Errors
    /// The database's.
    pub async fn outdated(&self, edition: EditionId) -> Result<Vec<(FamilyId, u64)>, BotnetError> {
        let counts: Vec<(FamilyId, i64)> = sqlx::query_as(OUTDATED)
            .bind(edition)
            .fetch_all(&self.pool)
            .await?;
        let counts = counts.into_iter();
        Ok(counts
            .map(|(family, count)| (family, count.unsigned_abs()))
            .collect())
    }

    /// The number of an edition, if nodes may have been located by it; otherwise one that no node
    /// has.
    ///
    /// # Errors
    /// The database's.
    pub async fn edition_if_used(&self, edition: &Edition) -> Result<EditionId, BotnetError> {
        let found: Option<EditionId> =
            sqlx::query_scalar("SELECT edition_id FROM botnet_geo_editions WHERE fingerprint = $1")
                .bind(&edition.fingerprint)
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.unwrap_or(EditionId(0)))
    }

    /// Locates the next nodes of a family again that another edition located, at most
    /// [`BATCH`]: their places, and the statistics with them, change in one transaction. With the
    /// last of them the history of the days whose communications are kept is to be made again.
    ///
    /// # Errors
    /// The database's, after which the same can be tried again; [`BotnetError::FamilyGone`].
    pub async fn relocate(
        &self,
        family: FamilyId,
        by: NumberedAtlas<'_>,
        after: Option<IpAddr>,
    ) -> Result<RelocatedBatch, BotnetError> {
        let (nodes, next_after) = self.next_outdated(family, by.edition, after).await?;
        let hosts: Vec<IpNetwork> = nodes.iter().map(|(ip, _)| *ip).collect();
        let located: Vec<(IpNetwork, Place)> = hosts
            .iter()
            .map(|ip| (*ip, by.atlas.locate(ip.ip())))
            .filter(|(_, place)| !place.is_unknown())
            .collect();
        let (known, places): (Vec<_>, Vec<_>) = located.into_iter().unzip();
        // On a connection of its own, before the transaction has one.
        let places = self.place_ids(&places).await?;
        let places: HashMap<IpNetwork, i32> = known.into_iter().zip(places).collect();
        let relocated = attempt_botnets(async {
            let mut lease = Lease::begin(&self.pool).await?;
            let connection = lease.connection();
            families::hold(connection, family).await?;
            let nodes: Vec<Node> = sqlx::query_as(LOCK)
                .bind(family)
                .bind(&hosts)
                .bind(by.edition)
                .fetch_all(&mut *connection)
                .await?;
            let (mut delta, relocated) = differences(&nodes, &places);
            update(connection, family, by.edition, &nodes, &places).await?;
            if next_after.is_none() {
                delta.touch(self.kept_days(connection, family).await?);
            }
            delta.write(connection, family).await?;
            lease.commit().await?;
            Ok(relocated)
        })
        .await?;
        Ok(RelocatedBatch {
            relocated,
            next_after,
        })
    }

    /// What [`Botnets::relocate`] would do, without doing it.
    ///
    /// # Errors
    /// The database's.
    pub async fn relocation_of(
        &self,
        family: FamilyId,
        by: NumberedAtlas<'_>,
        after: Option<IpAddr>,
    ) -> Result<RelocatedBatch, BotnetError> {
        let (nodes, next_after) = self.next_outdated(family, by.edition, after).await?;
        let ids: Vec<i32> = nodes.iter().map(|(_, place)| *place).collect();
        let rows: Vec<(i32, String, String, String)> = sqlx::query_as(PLACES)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        let places = rows.iter().map(|(id, country, province, city)| {
            // What is no place by now is elsewhere in any case.
            (*id, Place::new(country, province, city).ok())
        });
        let places: HashMap<i32, Option<Place>> = places.collect();
        let mut relocated = Relocated::default();
        for (ip, place) in &nodes {
            let before = places.get(place).copied().flatten();
            let now = by.atlas.locate(ip.ip());
            match now.is_unknown() || before == Some(now) {
                true => relocated.same += 1,
                false => relocated.moved += 1,
            }
        }
        Ok(RelocatedBatch {
            relocated,
            next_after,
        })
    }

    /// The next nodes with their places, and after which the ones after them begin.
    async fn next_outdated(
        &self,
        family: FamilyId,
        edition: EditionId,
        after: Option<IpAddr>,
    ) -> Result<(Vec<(IpNetwork, i32)>, Option<IpAddr>), BotnetError> {
        // A network sorts before what is in it, and 0.0.0.0/0 before every address.
        let after = match after {
            Some(address) => address.into(),
            None => IpNetwork::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("no prefix is shorter"),
        };
        let mut nodes: Vec<(IpNetwork, i32)> = sqlx::query_as(NEXT)
            .bind(family)
            .bind(after)
            .bind(edition)
            .bind(BATCH as i64 + 1)
            .fetch_all(&self.pool)
            .await?;
        let is_last = nodes.len() <= BATCH;
        nodes.truncate(BATCH);
        let next_after = nodes.last().map(|(ip, _)| ip.ip()).filter(|_| !is_last);
        Ok((nodes, next_after))
    }

    /// Days in the history whose communications are all there still.
    async fn kept_days(
        &self,
        connection: &mut PgConnection,
        family: FamilyId,
    ) -> Result<Vec<Date>, BotnetError> {
        let kept = time_duration(self.settings.communications);
        let horizon = OffsetDateTime::now_utc().checked_sub(kept);
        let horizon = horizon.and_then(|horizon| horizon.date().next_day());
        let horizon = horizon.unwrap_or(OffsetDateTime::UNIX_EPOCH.date());
        let days = sqlx::query_scalar(DAYS)
            .bind(family)
            .bind(horizon)
            .fetch_all(connection)
            .await?;
        Ok(days)
    }
}

/// How the statistics differ when nodes go to their places.
fn differences(nodes: &[Node], places: &HashMap<IpNetwork, i32>) -> (Delta, Relocated) {
    let (mut delta, mut relocated) = (Delta::default(), Relocated::default());
    for node in nodes {
        let place = place_of(node, places);
        if place == node.place_id {
            relocated.same += 1;
            continue;
        }
        relocated.moved += 1;
        delta.add(node.place_id, -1, -node.communications);
        delta.add(place, 1, node.communications);
    }
    (delta, relocated)
}

fn place_of(node: &Node, places: &HashMap<IpNetwork, i32>) -> i32 {
    places.get(&node.ip).copied().unwrap_or(node.place_id)
}

async fn update(
    connection: &mut PgConnection,
    family: FamilyId,
    edition: EditionId,
    nodes: &[Node],
    places: &HashMap<IpNetwork, i32>,
) -> Result<(), BotnetError> {
    let hosts: Vec<IpNetwork> = nodes.iter().map(|node| node.ip).collect();
    let ids: Vec<i32> = nodes.iter().map(|node| place_of(node, places)).collect();
    let updated = sqlx::query(UPDATE)
        .bind(family)
        .bind(edition)
        .bind(&hosts)
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(counted(
        "botnet_nodes",
        hosts.len() as u64,
        updated.rows_affected(),
    )?)
}
