//! A batch of addresses, looked at and mended in one transaction.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime, UtcOffset};

use super::{
    Changes,
    mend::{Communication, Mended, Node, Sum, mend as mend_node},
};
use crate::{
    botnets::{snapshot::Snapshot, transient::attempts},
    store::{
        StoreError,
        botnets::{BotnetError, Botnets, FamilyId, SourceId, SourceKind, delta::Delta},
    },
};

/// As whose the communications are written.
const SOURCE: &str = "repair";

/// Nodes that are made of communications lie here until they are located: nowhere known.
const UNKNOWN_PLACE: i32 = 0;

/// By no edition of the geo files: relocation finds those that are not of the present one.
const NO_EDITION: i32 = 0;

/// Addresses of a family, in order.
pub(super) struct Batch<'a> {
    pub(super) family: FamilyId,
    pub(super) since: OffsetDateTime,
    pub(super) ips: &'a [IpAddr],
    pub(super) execute: bool,
}

/// An address, and what becomes of it.
struct Plan {
    ip: IpAddr,
    /// `None`: it has no row yet.
    before: Option<Node>,
    place: i32,
    mended: Mended,
}

/// Mends the batch, or says what it would change.
pub(super) async fn mend(botnets: &Botnets, batch: &Batch<'_>) -> Result<Changes, BotnetError> {
    attempts(|| async {
        let mut look = Snapshot::begin(botnets.pool()).await?;
        look.hold_communications().await?;
        let plans = plan(look.connection(), batch, "").await?;
        look.end().await?;
        if !batch.execute {
            return Ok(changes(&plans));
        }
        // Outside of the transaction: partitions and sources are made in others.
        botnets
            .ensure_communications(&days_of_added(&plans))
            .await?;
        let source = botnets.source(SourceKind::Repair, SOURCE).await?;
        let mut transaction = Snapshot::begin_current(botnets.pool()).await?;
        transaction.hold_communications().await?;
        let connection = transaction.connection();
        hold(connection, batch.family).await?;
        let plans = plan(connection, batch, "FOR UPDATE").await?;
        write(connection, batch.family, source, &plans).await?;
        transaction.commit().await?;
        Ok(changes(&plans))
    })
    .await
}

async fn hold(connection: &mut PgConnection, family: FamilyId) -> Result<(), BotnetError> {
    let there: Option<i64> = sqlx::query_scalar(
        "SELECT family_id FROM botnet_families WHERE family_id = $1 FOR KEY SHARE",
    )
    .bind(family)
    .fetch_optional(connection)
    .await?;
    there.map(drop).ok_or(BotnetError::FamilyGone)
}

/// Looks at every address and decides; those that fit are left out. Whoever writes nodes locks them
/// in the order of their addresses, and communications under the lock of their node.
async fn plan(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    lock: &str,
) -> sqlx::Result<Vec<Plan>> {
    let ips: Vec<_> = batch.ips.iter().copied().map(IpNetwork::from).collect();
    let statement = format!(
        "SELECT ip, first_seen, last_seen, communications, place_id
         FROM botnet_nodes WHERE family_id = $1 AND ip = ANY ($2)
         ORDER BY ip {lock}"
    );
    let nodes: Vec<(IpNetwork, OffsetDateTime, OffsetDateTime, i64, i32)> =
        sqlx::query_as(&statement)
            .bind(batch.family)
            .bind(&ips)
            .fetch_all(&mut *connection)
            .await?;
    let nodes: HashMap<_, _> = nodes
        .into_iter()
        .map(|(ip, first_seen, last_seen, communications, place)| {
            let node = Node {
                first_seen,
                last_seen,
                communications,
            };
            (ip.ip(), (node, place))
        })
        .collect();
    let sums: Vec<(IpNetwork, OffsetDateTime, OffsetDateTime, i64)> = sqlx::query_as(
        "SELECT ip, min(first_seen), max(last_seen), sum(count)::int8
         FROM botnet_communications WHERE family_id = $1 AND ip = ANY ($2)
         GROUP BY ip",
    )
    .bind(batch.family)
    .bind(&ips)
    .fetch_all(connection)
    .await?;
    let sums: HashMap<_, _> = sums
        .into_iter()
        .map(|(ip, first_seen, last_seen, count)| {
            let sum = Sum {
                first_seen,
                last_seen,
                count,
            };
            (ip.ip(), sum)
        })
        .collect();
    let plans = batch.ips.iter().filter_map(|ip| {
        let (node, sum) = (nodes.get(ip).copied(), sums.get(ip).copied());
        decide(*ip, node, sum, batch.since)
    });
    Ok(plans.collect())
}

fn decide(
    ip: IpAddr,
    node: Option<(Node, i32)>,
    sum: Option<Sum>,
    since: OffsetDateTime,
) -> Option<Plan> {
    match (node, sum) {
        (None, None) => None,
        // Its communications are past retention.
        (Some((node, _)), None) if node.last_seen < since => None,
        (Some((node, place)), sum) => {
            let mended = mend_node(node, sum, since);
            let fits = mended.node == node && mended.added.is_empty();
            (!fits).then_some(Plan {
                ip,
                before: Some(node),
                place,
                mended,
            })
        }
        (None, Some(sum)) => {
            let node = Node {
                first_seen: sum.first_seen,
                last_seen: sum.last_seen,
                communications: sum.count,
            };
            Some(Plan {
                ip,
                before: None,
                place: UNKNOWN_PLACE,
                mended: Mended {
                    node,
                    added: Vec::new(),
                },
            })
        }
    }
}

fn changes(plans: &[Plan]) -> Changes {
    let mut changes = Changes::default();
    for plan in plans {
        let (added, node) = (&plan.mended.added, &plan.mended.node);
        changes.communications += added.len() as u64;
        let sightings: i64 = added.iter().map(|of| of.count).sum();
        changes.sightings += sightings.unsigned_abs();
        let Some(before) = &plan.before else {
            changes.nodes += 1;
            continue;
        };
        changes.lacking += u64::from(!added.is_empty());
        changes.counters += u64::from(node.communications != before.communications);
        let times = |node: &Node| (node.first_seen, node.last_seen);
        changes.times += u64::from(times(node) != times(before));
    }
    changes
}

fn day(at: OffsetDateTime) -> Date {
    at.to_offset(UtcOffset::UTC).date()
}

/// Days of the communications that are added.
fn days_of_added(plans: &[Plan]) -> BTreeSet<Date> {
    let added = plans.iter().flat_map(|plan| &plan.mended.added);
    added.map(|of| day(of.bucket)).collect()
}

/// Days whose history changes: those, and on which a node appears first now, or no longer.
fn days(plans: &[Plan]) -> BTreeSet<Date> {
    let mut days = days_of_added(plans);
    for plan in plans {
        let first = plan.mended.node.first_seen;
        match plan.before {
            Some(before) if before.first_seen == first => {}
            before => {
                days.insert(day(first));
                days.extend(before.map(|before| day(before.first_seen)));
            }
        }
    }
    days
}

async fn write(
    connection: &mut PgConnection,
    family: FamilyId,
    source: SourceId,
    plans: &[Plan],
) -> Result<(), BotnetError> {
    if plans.is_empty() {
        return Ok(());
    }
    let (known, new): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().partition(|plan| plan.before.is_some());
    set_nodes(connection, family, &known).await?;
    add_nodes(connection, family, &new).await?;
    add_communications(connection, family, source, plans).await?;
    delta(plans).write(connection, family).await?;
    Ok(())
}

fn column<T>(plans: &[&Plan], of: impl Fn(&Plan) -> T) -> Vec<T> {
    plans.iter().map(|plan| of(plan)).collect()
}

async fn set_nodes(
    connection: &mut PgConnection,
    family: FamilyId,
    plans: &[&Plan],
) -> Result<(), BotnetError> {
    let changed: Vec<&Plan> = plans
        .iter()
        .filter(|plan| plan.before != Some(plan.mended.node))
        .copied()
        .collect();
    let set = sqlx::query(
        "UPDATE botnet_nodes n
         SET first_seen = of.first_seen, last_seen = of.last_seen,
             communications = of.communications
         FROM unnest($2::inet[], $3::timestamptz[], $4::timestamptz[], $5::int8[])
             AS of (ip, first_seen, last_seen, communications)
         WHERE n.family_id = $1 AND n.ip = of.ip",
    )
    .bind(family)
    .bind(column(&changed, |plan| IpNetwork::from(plan.ip)))
    .bind(column(&changed, |plan| plan.mended.node.first_seen))
    .bind(column(&changed, |plan| plan.mended.node.last_seen))
    .bind(column(&changed, |plan| plan.mended.node.communications))
    .execute(connection)
    .await?;
    counted("botnet_nodes", changed.len(), set.rows_affected())
}

async fn add_nodes(
    connection: &mut PgConnection,
    family: FamilyId,
    plans: &[&Plan],
) -> Result<(), BotnetError> {
    if plans.is_empty() {
        return Ok(());
    }
    let added = sqlx::query(
        "INSERT INTO botnet_nodes
             (family_id, ip, first_seen, last_seen, communications, place_id, edition_id)
         SELECT $1, of.ip, of.first_seen, of.last_seen, of.communications, $6, $7
         FROM unnest($2::inet[], $3::timestamptz[], $4::timestamptz[], $5::int8[])
             AS of (ip, first_seen, last_seen, communications)
         ORDER BY of.ip",
    )
    .bind(family)
    .bind(column(plans, |plan| IpNetwork::from(plan.ip)))
    .bind(column(plans, |plan| plan.mended.node.first_seen))
    .bind(column(plans, |plan| plan.mended.node.last_seen))
    .bind(column(plans, |plan| plan.mended.node.communications))
    .bind(UNKNOWN_PLACE)
    .bind(NO_EDITION)
    .execute(connection)
    .await?;
    counted("botnet_nodes", plans.len(), added.rows_affected())
}

async fn add_communications(
    connection: &mut PgConnection,
    family: FamilyId,
    source: SourceId,
    plans: &[Plan],
) -> Result<(), BotnetError> {
    let of_plan = |plan| {
        let Plan { ip, mended, .. }: &Plan = plan;
        mended.added.iter().map(|added| (*ip, *added))
    };
    let rows: Vec<(IpAddr, Communication)> = plans.iter().flat_map(of_plan).collect();
    let at = |of: fn(&Communication) -> OffsetDateTime| -> Vec<_> {
        rows.iter().map(|(_, row)| of(row)).collect()
    };
    let ips: Vec<_> = rows.iter().map(|(ip, _)| IpNetwork::from(*ip)).collect();
    let counts: Vec<_> = rows.iter().map(|(_, row)| row.count).collect();
    let added = sqlx::query(
        "INSERT INTO botnet_communications AS c
             (family_id, ip, bucket, source_id, first_seen, last_seen, count)
         SELECT $1, of.ip, of.bucket, $2, of.first_seen, of.last_seen, of.count
         FROM unnest($3::inet[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
                     $7::int8[]) AS of (ip, bucket, first_seen, last_seen, count)
         ON CONFLICT (family_id, ip, bucket, source_id) DO UPDATE
         SET first_seen = least(c.first_seen, EXCLUDED.first_seen),
             last_seen = greatest(c.last_seen, EXCLUDED.last_seen),
             count = c.count + EXCLUDED.count",
    )
    .bind(family)
    .bind(source)
    .bind(ips)
    .bind(at(|row| row.bucket))
    .bind(at(|row| row.first_seen))
    .bind(at(|row| row.last_seen))
    .bind(counts)
    .execute(connection)
    .await?;
    counted("botnet_communications", rows.len(), added.rows_affected())
}

/// What the batch changes in the statistics and in the history.
fn delta(plans: &[Plan]) -> Delta {
    let mut delta = Delta::default();
    for plan in plans {
        let before = plan.before.map_or(0, |before| before.communications);
        let more = plan.mended.node.communications - before;
        let nodes = i64::from(plan.before.is_none());
        if (nodes, more) != (0, 0) {
            delta.add(plan.place, nodes, more);
        }
    }
    delta.touch(days(plans));
    delta
}

fn counted(table: &'static str, sent: usize, stored: u64) -> Result<(), BotnetError> {
    let sent = sent as u64;
    match sent == stored {
        true => Ok(()),
        false => Err(StoreError::Mismatch {
            table,
            sent,
            stored,
        }
        .into()),
    }
}
