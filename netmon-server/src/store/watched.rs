//! Sightings of watched addresses: agents do not know families, so each is looked up here.
//!
//! A transaction holds one connection only, so everything that is looked up is looked up before it, for
//! the batches that are to be stored. Should some of them turn out to be stored already, the others are
//! looked up once more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use netmon_common::wire::{self, MAX_SIGHTING_PORTS};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Invalid, Rows, Store, StoreError,
    botnets::{self, BotnetError, FamilyId, Prepared, SourceId, SourceKind, Traffic, Written},
    error::counted,
    exchanges::address,
    invalid::fit,
    rows::Origin,
};
use crate::{agent_id::AgentId, geo::Current};

/// What an agent says of a watched address.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    address: IpAddr,
    first: OffsetDateTime,
    last: OffsetDateTime,
    /// 0: more of flows that were counted before.
    flows: u32,
    /// Of these, those that the address began.
    begun_there: u32,
    traffic: Traffic,
    ports: Vec<u16>,
    local_ports: Vec<u16>,
}

/// What became of sightings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SightingCounts {
    /// In a communication, or in several if the address is in several families.
    pub stored: u64,
    /// The address is in no family any more, or not watched.
    pub unwatched: u64,
    /// Older than communications are kept.
    pub too_old: u64,
    /// Communications that were written.
    pub communications: u64,
}

/// Takes the sightings of a batch, or names the first that is invalid.
pub(super) fn collect(
    rows: &mut Rows,
    origin: Origin,
    sightings: &[wire::Sighting],
) -> Result<(), Invalid> {
    for (index, sighting) in sightings.iter().enumerate() {
        let seen = seen(origin, sighting)
            .map_err(|invalid| invalid.within(format_args!("sightings[{index}]")))?;
        rows.watched.push(seen);
    }
    Ok(())
}

fn seen(origin: Origin, sighting: &wire::Sighting) -> Result<Seen, Invalid> {
    let address = address("address", &sighting.address)?.to_canonical();
    let first_us = origin
        .window
        .not_ahead("first_at_unix_ns", sighting.first_at_unix_ns)?;
    let last_us = origin
        .window
        .not_ahead("last_at_unix_ns", sighting.last_at_unix_ns)?;
    if !(0..=last_us).contains(&first_us) {
        let problem = format_args!(
            "{} to {} ns is no time",
            sighting.first_at_unix_ns, sighting.last_at_unix_ns
        );
        return Err(Invalid::new("first_at_unix_ns", problem));
    }
    let flows = u32::try_from(sighting.flows).map_err(|_| {
        let problem = format_args!("{} is more than {}", sighting.flows, u32::MAX);
        Invalid::new("flows", problem)
    })?;
    let begun_there = u32::try_from(sighting.begun_there).unwrap_or(u32::MAX);
    if begun_there > flows {
        let problem = format_args!("{} of {flows} flows", sighting.begun_there);
        return Err(Invalid::new("begun_there", problem));
    }
    for (place, count) in [
        ("inbound_packets", sighting.inbound_packets),
        ("inbound_bytes", sighting.inbound_bytes),
        ("outbound_packets", sighting.outbound_packets),
        ("outbound_bytes", sighting.outbound_bytes),
    ] {
        fit::<i64, _>(place, count)?;
    }
    Ok(Seen {
        address,
        first: time("first_at_unix_ns", first_us)?,
        last: time("last_at_unix_ns", last_us)?,
        flows,
        begun_there,
        traffic: Traffic {
            local_port: None,
            inbound_packets: sighting.inbound_packets,
            inbound_bytes: sighting.inbound_bytes,
            outbound_packets: sighting.outbound_packets,
            outbound_bytes: sighting.outbound_bytes,
        },
        ports: ports("ports", &sighting.ports)?,
        local_ports: ports("local_ports", &sighting.local_ports)?,
    })
}

fn time(place: &str, unix_us: i64) -> Result<OffsetDateTime, Invalid> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_us) * 1000)
        .map_err(|_| Invalid::new(place, "is beyond the calendar"))
}

fn ports(place: &str, ports: &[u32]) -> Result<Vec<u16>, Invalid> {
    if ports.len() > MAX_SIGHTING_PORTS {
        let problem = format_args!("{} ports are more than {MAX_SIGHTING_PORTS}", ports.len());
        return Err(Invalid::new(place, problem));
    }
    let port = |port: &u32| {
        u16::try_from(*port)
            .map_err(|_| Invalid::new(place, format_args!("{port} is more than {}", u16::MAX)))
    };
    ports.iter().map(port).collect()
}

impl Seen {
    /// As the tables of botnets take it: the first one with what is counted, further ones with further
    /// ports and the time of the first packet.
    fn sightings(&self, geo: &Current) -> Vec<botnets::Sighting> {
        let place = geo.locate(self.address);
        let port = |at: usize| self.ports.get(at).copied();
        let local = |at: usize| self.local_ports.get(at).copied();
        let mut all = vec![botnets::Sighting {
            address: self.address,
            seen_at: self.last,
            port: port(0),
            place,
            count: self.flows,
            traffic: Some(Traffic {
                local_port: local(0),
                ..self.traffic
            }),
        }];
        let more = |seen_at, at: usize| botnets::Sighting {
            address: self.address,
            seen_at,
            port: port(at),
            place,
            count: 0,
            traffic: Some(Traffic {
                local_port: local(at),
                ..Traffic::default()
            }),
        };
        if self.first != self.last {
            all.push(more(self.first, 0));
        }
        let most = self.ports.len().max(self.local_ports.len());
        all.extend((1..most).map(|at| more(self.last, at)));
        all
    }
}

/// Sightings of a group of batches, ready to be written.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By family.
    writes: BTreeMap<FamilyId, Vec<Write>>,
    addresses: Vec<IpNetwork>,
    counts: SightingCounts,
}

/// What one agent saw of a family.
#[derive(Debug)]
struct Write {
    prepared: Prepared,
    source: SourceId,
    begun: Begun,
}

/// Flows that addresses began, by address and hour.
type Begun = BTreeMap<(IpAddr, OffsetDateTime), i64>;

/// The same before anything is looked up for it.
#[derive(Debug, Default)]
struct Part {
    sightings: Vec<botnets::Sighting>,
    begun: Begun,
}

/// The families an address is in.
#[derive(Debug, Default)]
struct Families {
    /// As a node.
    known: BTreeSet<FamilyId>,
    /// By a family's list; it may be no node yet.
    listed: BTreeSet<FamilyId>,
}

impl Ready {
    /// Looks up what the batches' sightings belong to; makes partitions that are missing.
    pub(super) async fn look_up(
        store: &Store,
        rows: &Rows,
        batches: &[usize],
    ) -> Result<Self, StoreError> {
        let all = || {
            let of = batches.iter().map(|batch| (rows.key(*batch).agent, *batch));
            of.flat_map(|(agent, batch)| {
                let seen = rows.watched_of(batch).iter();
                seen.map(move |seen| (agent, seen))
            })
        };
        let addresses: BTreeSet<IpAddr> = all().map(|(_, seen)| seen.address).collect();
        if addresses.is_empty() {
            return Ok(Self::default());
        }
        let addresses: Vec<IpNetwork> = addresses.into_iter().map(IpNetwork::from).collect();
        let families = families_of(store, &addresses).await?;
        let kept = store.botnets().settings().communications;
        let oldest = OffsetDateTime::now_utc() - kept;
        let mut ready = Self {
            addresses,
            ..Self::default()
        };
        // What is only listed becomes a node by a flow, not by more packets of one.
        let met: HashSet<IpAddr> = all()
            .filter(|(_, seen)| seen.flows > 0)
            .map(|(_, seen)| seen.address)
            .collect();
        let geo = store.geo();
        let mut parts: BTreeMap<(FamilyId, i64), Part> = BTreeMap::new();
        for (agent, seen) in all() {
            if seen.last < oldest {
                ready.counts.too_old += 1;
                continue;
            }
            let of = families.get(&seen.address);
            let known = of.iter().flat_map(|of| &of.known);
            let listed = of.iter().flat_map(|of| &of.listed);
            let listed = listed.filter(|_| met.contains(&seen.address));
            let of: BTreeSet<FamilyId> = known.chain(listed).copied().collect();
            match of.is_empty() {
                true => ready.counts.unwatched += 1,
                false => ready.counts.stored += 1,
            }
            for family in of {
                let part = parts.entry((family, agent)).or_default();
                part.sightings.extend(seen.sightings(&geo));
                let begun = part.begun.entry((seen.address, hour(seen.last)));
                *begun.or_default() += i64::from(seen.begun_there);
            }
        }
        ready.prepare(store, &geo, parts).await?;
        Ok(ready)
    }

    async fn prepare(
        &mut self,
        store: &Store,
        geo: &Current,
        parts: BTreeMap<(FamilyId, i64), Part>,
    ) -> Result<(), StoreError> {
        if parts.is_empty() {
            return Ok(());
        }
        let botnets = store.botnets();
        let edition = botnets.edition(geo.edition()).await.map_err(error)?;
        for ((family, agent), Part { sightings, begun }) in parts {
            let name = AgentId::from_bigint(agent).to_string();
            let source = botnets.source(SourceKind::Agent, &name).await;
            let source = source.map_err(error)?;
            let prepared = botnets.prepare(family, source, edition, &sightings).await;
            let of_family = self.writes.entry(family).or_default();
            of_family.push(Write {
                prepared: prepared.map_err(error)?,
                source,
                begun,
            });
        }
        Ok(())
    }

    /// Writes them, family after family; gives what is to be counted once that is durable.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(SightingCounts, Vec<Written>), StoreError> {
        let (mut counts, mut all) = (self.counts, Vec::new());
        for (family, writes) in &self.writes {
            if writes.len() > 1 {
                // Nodes are locked in the order of their addresses, and each agent's would begin anew.
                lock(connection, *family, &self.addresses).await?;
            }
            for write in writes {
                match write.prepared.write(connection).await {
                    Ok(written) => {
                        write.begun_there(connection, *family).await?;
                        counts.communications += written.communications;
                        all.push(written);
                    }
                    // Removed since it was looked up.
                    Err(BotnetError::FamilyGone) => break,
                    Err(other) => return Err(error(other)),
                }
            }
        }
        Ok((counts, all))
    }
}

impl Write {
    /// Who began is known of flows only, not of lines of a log.
    async fn begun_there(
        &self,
        connection: &mut PgConnection,
        family: FamilyId,
    ) -> Result<(), StoreError> {
        let addresses: Vec<IpNetwork> = self.begun.keys().map(|(ip, _)| (*ip).into()).collect();
        let hours: Vec<OffsetDateTime> = self.begun.keys().map(|(_, hour)| *hour).collect();
        let counts: Vec<i64> = self.begun.values().copied().collect();
        // The bounds spare a look into each day.
        let updated = sqlx::query(
            "UPDATE botnet_communications c
             SET begun_there = coalesce(c.begun_there, 0) + b.begun
             FROM unnest($3::inet[], $4::timestamptz[], $5::int8[]) AS b (ip, bucket, begun)
             WHERE c.family_id = $1 AND c.source_id = $2 AND c.ip = b.ip AND c.bucket = b.bucket
               AND c.bucket >= $6 AND c.bucket <= $7",
        )
        .bind(family)
        .bind(self.source)
        .bind(addresses)
        .bind(&hours)
        .bind(counts)
        .bind(hours.iter().min())
        .bind(hours.iter().max())
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
        counted(
            "botnet_communications",
            self.begun.len() as u64,
            updated.rows_affected(),
        )
    }
}

/// The hour's beginning, by which communications are kept.
fn hour(at: OffsetDateTime) -> OffsetDateTime {
    let within = at.unix_timestamp_nanos().rem_euclid(3_600_000_000_000);
    at - time::Duration::nanoseconds(within as i64)
}

async fn lock(
    connection: &mut PgConnection,
    family: FamilyId,
    addresses: &[IpNetwork],
) -> Result<(), StoreError> {
    // First, as everybody does.
    sqlx::query("SELECT 1 FROM botnet_families WHERE family_id = $1 FOR KEY SHARE")
        .bind(family)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "SELECT 1 FROM botnet_nodes WHERE family_id = $1 AND ip = ANY ($2)
         ORDER BY ip FOR NO KEY UPDATE",
    )
    .bind(family)
    .bind(addresses)
    .execute(connection)
    .await?;
    Ok(())
}

/// The families that each address is watched for.
async fn families_of(
    store: &Store,
    addresses: &[IpNetwork],
) -> Result<HashMap<IpAddr, Families>, StoreError> {
    let watched: Vec<FamilyId> = sqlx::query_scalar(
        "SELECT family_id FROM botnet_families WHERE watched ORDER BY family_id",
    )
    .fetch_all(&store.pool)
    .await?;
    let known: Vec<(FamilyId, IpNetwork)> = sqlx::query_as(
        "SELECT family_id, ip FROM botnet_nodes WHERE family_id = ANY ($1) AND ip = ANY ($2)",
    )
    .bind(&watched)
    .bind(addresses)
    .fetch_all(&store.pool)
    .await?;
    // An address that is listed may be a node of the family, whose nodes nobody watches.
    let listed: Vec<(FamilyId, IpNetwork, bool)> = sqlx::query_as(
        "SELECT DISTINCT e.family_id, a.ip, n.ip IS NOT NULL
         FROM unnest($1::inet[]) AS a (ip)
         JOIN botnet_watch_entries e ON e.prefix >>= a.ip
         LEFT JOIN botnet_nodes n ON n.family_id = e.family_id AND n.ip = a.ip",
    )
    .bind(addresses)
    .fetch_all(&store.pool)
    .await?;
    let mut families: HashMap<IpAddr, Families> = HashMap::new();
    for (family, address) in known {
        families
            .entry(address.ip())
            .or_default()
            .known
            .insert(family);
    }
    for (family, address, is_node) in listed {
        let of = families.entry(address.ip()).or_default();
        match is_node {
            true => of.known.insert(family),
            false => of.listed.insert(family),
        };
    }
    Ok(families)
}

/// None of these but the database's can be: whatever else is wrong is wrong with the code.
fn error(error: BotnetError) -> StoreError {
    match error {
        BotnetError::Store(error) => error,
        other => StoreError::Permanent(other.to_string()),
    }
}
