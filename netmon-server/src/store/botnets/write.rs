//! Sightings into the tables, within a transaction that is open already.

use std::{net::IpAddr, sync::LazyLock};

use ipnetwork::IpNetwork;
use sqlx::{PgConnection, postgres::PgArguments, query::Query};
use time::{Date, OffsetDateTime};

use super::{
    BotnetError, Botnets, EditionId, FamilyId, Sighting, SourceId,
    delta::Delta,
    families,
    gathered::{BUCKET_US, Communication, Gathered, Node, microseconds},
    timestamp::Timestamp,
};
use crate::store::{
    Series, StoreError, commit::copy, copy::CopyBuffer, error::counted, partitions::Day,
};

/// Fewer rows than this are not worth the round trips of a COPY.
const WORTH_A_COPY: usize = 64;

const NODES: &str = "\
    WITH written AS (
        INSERT INTO botnet_nodes AS n
            (family_id, ip, first_seen, last_seen, communications, place_id, edition_id)
        SELECT $1, r.ip, r.first_seen, r.last_seen, r.communications, r.place_id, $7
        FROM unnest($2::inet[], $3::timestamptz[], $4::timestamptz[], $5::int8[], $6::int4[])
             AS r (ip, first_seen, last_seen, communications, place_id)
        ON CONFLICT (family_id, ip) DO UPDATE SET
            first_seen = least(n.first_seen, EXCLUDED.first_seen),
            last_seen = greatest(n.last_seen, EXCLUDED.last_seen),
            communications = n.communications + EXCLUDED.communications
        RETURNING n.ip, n.place_id, n.first_seen, n.xmax = 0 AS is_new)
    SELECT count(*),
           coalesce(array_agg(ip) FILTER (WHERE NOT is_new), '{}'),
           coalesce(array_agg(place_id) FILTER (WHERE NOT is_new), '{}'),
           coalesce(array_agg(first_seen) FILTER (WHERE NOT is_new), '{}')
    FROM written";

/// Days on which nodes were new until now: of each its oldest communication, before those that are
/// older are written. $3 are the hours from which on to look.
const NEW_ON: &str = "\
    SELECT DISTINCT (c.bucket AT TIME ZONE 'UTC')::date
    FROM unnest($2::inet[], $3::timestamptz[]) AS moved (ip, since)
    CROSS JOIN LATERAL (
        SELECT o.bucket FROM botnet_communications o
        WHERE o.family_id = $1 AND o.ip = moved.ip AND o.bucket >= moved.since
        ORDER BY o.bucket LIMIT 1) AS c";

/// Columns of `botnet_communications` in the order in which they are copied.
const COPY: &str = "COPY botnet_communications (family_id, ip, bucket, source_id, first_seen, \
                    last_seen, count, ports, inbound_packets, inbound_bytes, outbound_packets, \
                    outbound_bytes, local_ports) FROM STDIN BINARY";
const COPIED_COLUMNS: i16 = 13;

/// The statements that write communications which may be there: of logs, and of sensors.
static COMMUNICATIONS: LazyLock<[String; 2]> = LazyLock::new(|| [upsert(false), upsert(true)]);

/// Sightings of a family by one source, ready to be written.
#[derive(Debug)]
pub struct Prepared {
    family: FamilyId,
    source: SourceId,
    edition: EditionId,
    gathered: Gathered,
    /// Numbers of [`Gathered::places`].
    places: Vec<i32>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Nodes that were not known before.
    pub new_nodes: u64,
    /// Nodes that were.
    pub known_nodes: u64,
    /// Rows of communications inserted or updated.
    pub communications: u64,
    /// Sightings, each as many times as it counts.
    pub sightings: u64,
}

/// How communications get into their table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Those of new nodes by COPY: nothing of them can be there.
    Copy,
    /// All by upsert: something was there nevertheless.
    Upsert,
}

impl Botnets {
    /// Makes sightings ready to be written by [`Prepared::write`]: looks up their places and makes
    /// the partitions of their days, on connections that are given back.
    ///
    /// # Errors
    /// The database's.
    pub async fn prepare(
        &self,
        family: FamilyId,
        source: SourceId,
        edition: EditionId,
        sightings: &[Sighting],
    ) -> Result<Prepared, BotnetError> {
        let mut prepared = Prepared::new(family, source, edition, Gathered::new(sightings));
        self.make_ready(&mut prepared, &[]).await?;
        Ok(prepared)
    }

    /// The same for what was gathered, with other partitions that the transaction needs. Again before
    /// each attempt.
    pub(super) async fn make_ready(
        &self,
        prepared: &mut Prepared,
        others: &[(Series, Day)],
    ) -> Result<(), BotnetError> {
        prepared.places = self.place_ids(&prepared.gathered.places).await?;
        let days = prepared.gathered.days.iter();
        let days = days.map(|day| (Series::Communications, *day));
        let days = days.chain(others.iter().copied()).collect();
        self.partitions.ensure(&self.pool, &days).await?;
        Ok(())
    }
}

impl Prepared {
    pub(super) fn new(
        family: FamilyId,
        source: SourceId,
        edition: EditionId,
        gathered: Gathered,
    ) -> Self {
        Self {
            family,
            source,
            edition,
            gathered,
            places: Vec::new(),
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.gathered.nodes.is_empty()
    }

    /// Writes nodes, communications and the differences of the statistics. Transactions that write
    /// several families do it in the order of their numbers.
    ///
    /// # Errors
    /// [`BotnetError::FamilyGone`], after which the transaction can go on without the family. After
    /// any other it must be rolled back: [`StoreError::Mismatch`] says that the database stored other
    /// numbers than it was sent.
    pub async fn write(&self, connection: &mut PgConnection) -> Result<Written, BotnetError> {
        families::hold(connection, self.family).await?;
        Ok(self.write_held(connection, Way::Upsert).await?)
    }

    /// The same within a transaction that holds the family.
    pub(super) async fn write_held(
        &self,
        connection: &mut PgConnection,
        way: Way,
    ) -> Result<Written, StoreError> {
        if self.is_empty() {
            return Ok(Written::default());
        }
        let (known, moved) = self.write_nodes(connection).await?;
        let new_on = self.days_of_moved(connection, &moved).await?;
        self.write_communications(connection, &known, way).await?;
        self.write_delta(connection, &known, new_on).await?;
        let new_nodes = known.iter().filter(|known| known.is_none()).count();
        Ok(Written {
            new_nodes: new_nodes as u64,
            known_nodes: (known.len() - new_nodes) as u64,
            communications: self.gathered.communications.len() as u64,
            sightings: self.gathered.count.unsigned_abs(),
        })
    }

    /// Gives for each node the place it had, or `None` for a new one; and those known ones that may
    /// have been seen earlier now than anybody knew.
    async fn write_nodes(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(Vec<Option<i32>>, Vec<&Node>), StoreError> {
        let nodes = &self.gathered.nodes;
        type Rows = (i64, Vec<IpNetwork>, Vec<i32>, Vec<OffsetDateTime>);
        let (count, ips, places, firsts): Rows = sqlx::query_as(NODES)
            .bind(self.family)
            .bind(column(nodes, |node| IpNetwork::from(node.ip)))
            .bind(column(nodes, |node| Timestamp(node.first_us)))
            .bind(column(nodes, |node| Timestamp(node.last_us)))
            .bind(column(nodes, |node| node.count))
            .bind(column(nodes, |node| self.place(node)))
            .bind(self.edition)
            .fetch_one(connection)
            .await
            .map_err(StoreError::of_rows)?;
        counted("botnet_nodes", nodes.len() as u64, count.unsigned_abs())?;
        let ips = ips.into_iter().map(|of| of.ip());
        let rows = places.into_iter().zip(firsts.into_iter().map(microseconds));
        let mut rows: Vec<(IpAddr, (i32, i64))> = ips.zip(rows).collect();
        rows.sort_unstable();
        let mut rows = rows.into_iter().peekable();
        let mut moved = Vec::new();
        let mut known = Vec::with_capacity(nodes.len());
        for node in nodes {
            let row = rows.next_if(|(ip, _)| *ip == node.ip).map(|(_, row)| row);
            if row.is_some_and(|(_, first_us)| first_us == node.first_us) {
                moved.push(node);
            }
            known.push(row.map(|(place, _)| place));
        }
        Ok((known, moved))
    }

    /// The days on which nodes were new that are so on an earlier day now: the history of both
    /// changes.
    async fn days_of_moved(
        &self,
        connection: &mut PgConnection,
        moved: &[&Node],
    ) -> Result<Vec<Date>, StoreError> {
        if moved.is_empty() {
            return Ok(Vec::new());
        }
        let hour = |node: &&Node| node.first_us - node.first_us.rem_euclid(BUCKET_US);
        sqlx::query_scalar(NEW_ON)
            .bind(self.family)
            .bind(column(moved, |node| IpNetwork::from(node.ip)))
            .bind(column(moved, |node| Timestamp(hour(node))))
            .fetch_all(connection)
            .await
            .map_err(StoreError::of_rows)
    }

    async fn write_communications(
        &self,
        connection: &mut PgConnection,
        known: &[Option<i32>],
        way: Way,
    ) -> Result<(), StoreError> {
        let all = &self.gathered.communications;
        let mut rest = all.as_slice();
        let (mut of_new, mut of_known) = (Vec::new(), Vec::new());
        for (node, known) in self.gathered.nodes.iter().zip(known) {
            let (of_node, later) = rest.split_at(node.communications as usize);
            rest = later;
            match known {
                None if way == Way::Copy => of_new.extend(of_node),
                _ => of_known.extend(of_node),
            }
        }
        if of_new.len() < WORTH_A_COPY && !of_new.is_empty() {
            of_new.clear();
            of_known = all.iter().collect();
        }
        let mut stored = 0;
        if !of_new.is_empty() {
            let rows = self.encoded(&of_new);
            let copied = copy(connection, COPY, std::iter::once(rows.all())).await;
            stored += copied.map_err(StoreError::of_rows)?;
        }
        if !of_known.is_empty() {
            let upserted = self.upsert(&of_known).execute(connection).await;
            stored += upserted.map_err(StoreError::of_rows)?.rows_affected();
        }
        counted("botnet_communications", all.len() as u64, stored)
    }

    fn encoded(&self, rows: &[&Communication]) -> CopyBuffer {
        let mut out = CopyBuffer::default();
        for row in rows {
            out.row(COPIED_COLUMNS);
            out.int8(self.family.number());
            out.inet(row.ip);
            out.timestamp(row.bucket_us);
            out.int4(self.source.number());
            out.timestamp(row.first_us);
            out.timestamp(row.last_us);
            out.int8(row.count);
            out.optional(ports(row.ports.as_slice()), ports_array);
            let traffic = row.traffic.as_ref();
            out.optional(traffic.map(|t| t.inbound_packets), CopyBuffer::int8);
            out.optional(traffic.map(|t| t.inbound_bytes), CopyBuffer::int8);
            out.optional(traffic.map(|t| t.outbound_packets), CopyBuffer::int8);
            out.optional(traffic.map(|t| t.outbound_bytes), CopyBuffer::int8);
            let local = traffic.and_then(|t| ports(t.local_ports.as_slice()));
            out.optional(local, ports_array);
        }
        out
    }

    fn upsert(&self, rows: &[&Communication]) -> Query<'static, sqlx::Postgres, PgArguments> {
        let (from, upto, ports) = flattened(rows, |row| row.ports.as_slice());
        let statement = &COMMUNICATIONS[usize::from(self.gathered.has_traffic)];
        let query = sqlx::query(statement)
            .bind(self.family)
            .bind(self.source)
            .bind(column(rows, |row| IpNetwork::from(row.ip)))
            .bind(column(rows, |row| Timestamp(row.bucket_us)))
            .bind(column(rows, |row| Timestamp(row.first_us)))
            .bind(column(rows, |row| Timestamp(row.last_us)))
            .bind(column(rows, |row| row.count))
            .bind(from)
            .bind(upto)
            .bind(ports);
        if !self.gathered.has_traffic {
            return query;
        }
        let (from, upto, ports) = flattened(rows, |row| {
            row.traffic
                .as_ref()
                .map_or(&[], |of| of.local_ports.as_slice())
        });
        query
            .bind(column(rows, |row| {
                row.traffic.as_ref().map(|of| of.inbound_packets)
            }))
            .bind(column(rows, |row| {
                row.traffic.as_ref().map(|of| of.inbound_bytes)
            }))
            .bind(column(rows, |row| {
                row.traffic.as_ref().map(|of| of.outbound_packets)
            }))
            .bind(column(rows, |row| {
                row.traffic.as_ref().map(|of| of.outbound_bytes)
            }))
            .bind(from)
            .bind(upto)
            .bind(ports)
    }

    /// What the transaction changes in the statistics.
    async fn write_delta(
        &self,
        connection: &mut PgConnection,
        known: &[Option<i32>],
        new_on: Vec<Date>,
    ) -> Result<(), StoreError> {
        let mut delta = Delta::default();
        for (node, known) in self.gathered.nodes.iter().zip(known) {
            // A known node counts where it is said to be until it is located again.
            let place = known.unwrap_or_else(|| self.place(node));
            delta.add(place, i64::from(known.is_none()), node.count);
        }
        delta.touch(self.gathered.days.iter().map(|day| day.date()));
        delta.touch(new_on);
        let (_, sightings) = delta.sums();
        counted("botnet_nodes", self.gathered.count as u64, sightings as u64)?;
        delta.write(connection, self.family).await
    }

    fn place(&self, node: &Node) -> i32 {
        self.places[node.place as usize]
    }
}

fn column<R, T>(rows: &[R], value: impl FnMut(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn ports(ports: &[i32]) -> Option<&[i32]> {
    (!ports.is_empty()).then_some(ports)
}

fn ports_array(out: &mut CopyBuffer, ports: &[i32]) {
    out.int4_array(ports.iter().copied());
}

/// All ports one after the other, and where those of each row begin and end: PostgreSQL has no
/// arrays of arrays of several lengths.
fn flattened<'a>(
    rows: &[&'a Communication],
    of: impl Fn(&'a Communication) -> &'a [i32],
) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let (mut from, mut upto, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        from.push(all.len() as i32 + 1);
        all.extend(of(row));
        upto.push(all.len() as i32);
    }
    (from, upto, all)
}

/// Communications that may be there: counts add up, times widen, the lowest ports are kept.
fn upsert(traffic: bool) -> String {
    let merged = |column: &str| {
        format!(
            "{column} = CASE WHEN EXCLUDED.{column} IS NULL OR c.{column} @> EXCLUDED.{column}
                 THEN c.{column}
                 ELSE (SELECT array_agg(s.p ORDER BY s.p)
                       FROM (SELECT DISTINCT u.p
                             FROM unnest(c.{column} || EXCLUDED.{column}) AS u (p)
                             ORDER BY u.p LIMIT {MAX_PORTS}) AS s) END",
            MAX_PORTS = super::gathered::MAX_PORTS,
        )
    };
    let slice = |all: &str, from: &str, upto: &str| {
        format!("CASE WHEN {upto} >= {from} THEN ({all}::int4[])[{from}:{upto}] END")
    };
    let sums = [
        "inbound_packets",
        "inbound_bytes",
        "outbound_packets",
        "outbound_bytes",
    ];
    let (mut columns, mut values) = (
        "ports".to_owned(),
        slice("$10", "r.ports_from", "r.ports_upto"),
    );
    let (mut arrays, mut names) = (String::new(), String::new());
    let mut changes = merged("ports");
    if traffic {
        for (number, sum) in (11..).zip(sums) {
            columns += &format!(", {sum}");
            values += &format!(", r.{sum}");
            arrays += &format!(", ${number}::int8[]");
            names += &format!(", {sum}");
            changes +=
                &format!(", {sum} = coalesce(c.{sum} + EXCLUDED.{sum}, EXCLUDED.{sum}, c.{sum})");
        }
        columns += ", local_ports";
        values += &format!(", {}", slice("$17", "r.local_from", "r.local_upto"));
        arrays += ", $15::int4[], $16::int4[]";
        names += ", local_from, local_upto";
        changes += &format!(", {}", merged("local_ports"));
    }
    format!(
        "INSERT INTO botnet_communications AS c
             (family_id, ip, bucket, source_id, first_seen, last_seen, count, {columns})
         SELECT $1, r.ip, r.bucket, $2, r.first_seen, r.last_seen, r.count, {values}
         FROM unnest($3::inet[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
                     $7::int8[], $8::int4[], $9::int4[]{arrays})
              AS r (ip, bucket, first_seen, last_seen, count, ports_from, ports_upto{names})
         ON CONFLICT (family_id, ip, bucket, source_id) DO UPDATE SET
             first_seen = least(c.first_seen, EXCLUDED.first_seen),
             last_seen = greatest(c.last_seen, EXCLUDED.last_seen),
             count = c.count + EXCLUDED.count,
             {changes}"
    )
}
