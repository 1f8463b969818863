//! Nodes that go: on request, because nobody saw them for long, or with their family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::{BotnetError, Botnets, FamilyId, commit::attempt_botnets, delta::Delta};
use crate::store::{StoreError, error::counted, lease::Lease};

/// Nodes that one transaction deletes.
const BATCH: usize = 2_000;

/// Nodes that are looked at for one transaction.
const LOOKED_AT: i64 = 50_000;

/// Where a part ends that begins after $2 and goes to $3 at most: $4 nodes later.
const END_OF_PART: &str = "\
    SELECT ip FROM botnet_nodes WHERE family_id = $1 AND ip > $2 AND ip <= $3
    ORDER BY ip OFFSET $4 LIMIT 1";

/// Nodes after $2 and up to $3 that were seen last before $4, locked in the order of all writers.
const LOCK_PART: &str = "\
    SELECT ip, place_id, communications, first_seen, last_seen FROM botnet_nodes
    WHERE family_id = $1 AND ip > $2 AND ip <= $3 AND last_seen < $4
    ORDER BY ip LIMIT $5 FOR UPDATE";

const LOCK_THESE: &str = "\
    SELECT ip, place_id, communications, first_seen, last_seen FROM botnet_nodes
    WHERE family_id = $1 AND ip = ANY ($2) ORDER BY ip FOR UPDATE";

const DELETE_COMMUNICATIONS: &str = "\
    WITH gone AS (
        DELETE FROM botnet_communications
        WHERE family_id = $1 AND ip = ANY ($2)
          AND bucket BETWEEN $3::timestamptz - interval '1 hour' AND $4::timestamptz
        RETURNING bucket)
    SELECT count(*), coalesce(array_agg(DISTINCT (bucket AT TIME ZONE 'UTC')::date), '{}')
    FROM gone";

/// Which nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSelection {
    /// These.
    Addresses(Vec<IpAddr>),
    /// Those in a network.
    Network(IpNetwork),
    /// Those not seen since.
    NotSeenSince(OffsetDateTime),
    /// All.
    All,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Nodes.
    pub nodes: u64,
    /// Their communications, as far as these were kept.
    pub communications: u64,
}

#[derive(sqlx::FromRow)]
struct Node {
    ip: IpNetwork,
    place_id: i32,
    communications: i64,
    first_seen: OffsetDateTime,
    last_seen: OffsetDateTime,
}

/// A part of the addresses, in PostgreSQL's order.
#[derive(Clone, Copy, Debug)]
struct Range {
    after: IpNetwork,
    upto: IpNetwork,
}

impl Botnets {
    /// Deletes nodes with their communications, in transactions that each leave the statistics exact.
    /// What was interrupted can be called again.
    ///
    /// # Errors
    /// The database's; what was deleted until then stays deleted.
    pub async fn delete_nodes(
        &self,
        family: FamilyId,
        selection: &NodeSelection,
    ) -> Result<Deleted, BotnetError> {
        let deleted = self.delete_selected(family, selection).await?;
        self.metrics.deleted(deleted.nodes);
        Ok(deleted)
    }

    pub(super) async fn delete_selected(
        &self,
        family: FamilyId,
        selection: &NodeSelection,
    ) -> Result<Deleted, BotnetError> {
        let (range, before) = match selection {
            NodeSelection::Addresses(addresses) => {
                return self.delete_hosts(family, addresses).await;
            }
            NodeSelection::Network(network)
                if network.ip() == network.broadcast() && network.network() == network.ip() =>
            {
                return self.delete_hosts(family, &[network.ip()]).await;
            }
            NodeSelection::Network(network) => (Range::of(*network), None),
            NodeSelection::NotSeenSince(at) => (Range::all(), Some(*at)),
            NodeSelection::All => (Range::all(), None),
        };
        let (mut deleted, mut left) = (Deleted::default(), range);
        loop {
            let end: Option<IpNetwork> = sqlx::query_scalar(END_OF_PART)
                .bind(family)
                .bind(left.after)
                .bind(left.upto)
                .bind(LOOKED_AT)
                .fetch_optional(&self.pool)
                .await?;
            let part = Range {
                upto: end.unwrap_or(left.upto),
                ..left
            };
            deleted.add(self.delete_part(family, part, before).await?);
            match end {
                Some(end) => left.after = end,
                None => return Ok(deleted),
            }
        }
    }

    async fn delete_part(
        &self,
        family: FamilyId,
        mut part: Range,
        before: Option<OffsetDateTime>,
    ) -> Result<Deleted, BotnetError> {
        let mut deleted = Deleted::default();
        loop {
            let (last, some) = attempt_botnets(async {
                let mut lease = Lease::begin(&self.pool).await?;
                let nodes: Vec<Node> = sqlx::query_as(LOCK_PART)
                    .bind(family)
                    .bind(part.after)
                    .bind(part.upto)
                    .bind(before.unwrap_or(END_OF_TIME))
                    .bind(BATCH as i64)
                    .fetch_all(lease.connection())
                    .await?;
                let some = delete(lease.connection(), family, &nodes).await?;
                lease.commit().await?;
                Ok((nodes.last().map(|node| node.ip), some))
            })
            .await?;
            deleted.add(some);
            match last {
                Some(last) if some.nodes == BATCH as u64 => part.after = last,
                _ => return Ok(deleted),
            }
        }
    }

    async fn delete_hosts(
        &self,
        family: FamilyId,
        hosts: &[IpAddr],
    ) -> Result<Deleted, BotnetError> {
        let mut hosts: Vec<_> = hosts.iter().map(IpAddr::to_canonical).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut deleted = Deleted::default();
        for some in hosts.chunks(BATCH) {
            deleted.add(self.delete_these(family, some).await?);
        }
        Ok(deleted)
    }

    async fn delete_these(
        &self,
        family: FamilyId,
        hosts: &[IpAddr],
    ) -> Result<Deleted, BotnetError> {
        attempt_botnets(async {
            let mut lease = Lease::begin(&self.pool).await?;
            let hosts: Vec<_> = hosts.iter().copied().map(IpNetwork::from).collect();
            let nodes: Vec<Node> = sqlx::query_as(LOCK_THESE)
                .bind(family)
                .bind(hosts)
                .fetch_all(lease.connection())
                .await?;
            let deleted = delete(lease.connection(), family, &nodes).await?;
            lease.commit().await?;
            Ok(deleted)
        })
        .await
    }
}

/// Later than any time in the tables.
const END_OF_TIME: OffsetDateTime = time::macros::datetime!(9999-12-31 0:00 UTC);

/// Deletes nodes that are locked.
async fn delete(
    connection: &mut PgConnection,
    family: FamilyId,
    nodes: &[Node],
) -> Result<Deleted, StoreError> {
    let first = nodes.iter().map(|node| node.first_seen).min();
    let last = nodes.iter().map(|node| node.last_seen).max();
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Deleted::default());
    };
    let hosts: Vec<_> = nodes.iter().map(|node| node.ip).collect();
    let (communications, days): (i64, Vec<Date>) = sqlx::query_as(DELETE_COMMUNICATIONS)
        .bind(family)
        .bind(&hosts)
        .bind(first)
        .bind(last)
        .fetch_one(&mut *connection)
        .await?;
    let gone = sqlx::query("DELETE FROM botnet_nodes WHERE family_id = $1 AND ip = ANY ($2)")
        .bind(family)
        .bind(&hosts)
        .execute(&mut *connection)
        .await?;
    counted("botnet_nodes", hosts.len() as u64, gone.rows_affected())?;
    let mut delta = Delta::default();
    for node in nodes {
        delta.add(node.place_id, -1, -node.communications);
    }
    delta.touch(days);
    delta.write(connection, family).await?;
    Ok(Deleted {
        nodes: hosts.len() as u64,
        communications: communications.unsigned_abs(),
    })
}

impl Deleted {
    fn add(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.communications += other.communications;
    }
}

impl Range {
    /// From before the first IPv4 address to the last IPv6 address: a network sorts before what is
    /// in it.
    fn all() -> Self {
        Self {
            after: IpNetwork::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("no prefix is shorter"),
            upto: IpAddr::from(Ipv6Addr::from(u128::MAX)).into(),
        }
    }

    /// What lies in a network of more than one address.
    fn of(network: IpNetwork) -> Self {
        let first = IpNetwork::new(network.network(), network.prefix());
        Self {
            after: first.unwrap_or(network),
            upto: network.broadcast().into(),
        }
    }
}
