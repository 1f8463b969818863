//! Interfaces by name: what agents said of them, and when they were last measured.

use netmon_common::wire::{self, Batch};
use sqlx::PgConnection;

use super::{
    Invalid, StoreError,
    error::counted,
    invalid::fit,
    names::{Name, Names},
    rows::Rows,
};

/// A kernel name has at most 15 bytes (IFNAMSIZ); an agent that makes UTF-8 of it may turn each
/// into a three-byte replacement character.
const MAX_NAME_BYTES: usize = 45;

/// What a batch says of an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    name: Name,
    ifindex: i64,
    at_us: i64,
    /// What the agent said of it; a frame alone says only that it exists.
    described: Option<Described>,
}

#[derive(Clone, Copy, Debug)]
struct Described {
    at_us: i64,
    mac: Option<[u8; 6]>,
    mtu: i64,
    link_speed_bps: Option<i64>,
    monitored: bool,
}

/// What a transaction knows of an interface.
#[derive(Debug)]
pub(super) struct Interface<'a> {
    pub(super) agent: i64,
    pub(super) name: &'a str,
    pub(super) ifindex: i64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    described: Option<Described>,
}

/// Whether the text can be the name of a network interface: 1 to 45 bytes without NUL, slash or
/// other control characters.
pub fn is_interface_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name
            .chars()
            .any(|c| c == '/' || c.is_control() || c.is_whitespace())
}

pub(super) fn check_name(place: &str, name: &str) -> Result<(), Invalid> {
    if is_interface_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
    Err(Invalid::new(
        place,
        format_args!("{shown:?} is not the name of an interface"),
    ))
}

/// Takes the interfaces the batch describes; of one described twice the last counts.
pub(super) fn collect(rows: &mut Rows, batch: &Batch, sealed_at_us: i64) -> Result<(), Invalid> {
    for (index, interface) in batch.interfaces.iter().enumerate() {
        let described = describe(interface, sealed_at_us)
            .map_err(|invalid| invalid.within(format_args!("interfaces[{index}]")))?;
        let sighting = Sighting {
            name: rows.names.insert(&interface.name),
            ifindex: interface.ifindex.into(),
            at_us: sealed_at_us,
            described: Some(described),
        };
        rows.interfaces.push(sighting);
    }
    Ok(())
}

/// Notes that an interface, whose name was checked, was measured at a time.
pub(super) fn seen(rows: &mut Rows, name: &str, ifindex: u32, at_us: i64) {
    let sighting = Sighting {
        name: rows.names.insert(name),
        ifindex: ifindex.into(),
        at_us,
        described: None,
    };
    rows.interfaces.push(sighting);
}

/// Folds sightings, each with its agent, into interfaces in the order of their keys, in which every
/// transaction locks them.
pub(super) fn fold<'a>(
    names: &'a Names,
    mut sightings: Vec<(i64, &Sighting)>,
) -> Vec<Interface<'a>> {
    let key = |(agent, s): &(i64, &Sighting)| (*agent, names.get(s.name));
    // Stable: of two at the same time the later in its batch counts.
    sightings.sort_by(|a, b| key(a).cmp(&key(b)));
    let mut interfaces: Vec<Interface<'a>> = Vec::new();
    for (agent, sighting) in sightings {
        let name = names.get(sighting.name);
        match interfaces.last_mut() {
            Some(last) if last.agent == agent && last.name == name => last.add(sighting),
            _ => interfaces.push(Interface {
                agent,
                name,
                ifindex: sighting.ifindex,
                first_us: sighting.at_us,
                last_us: sighting.at_us,
                described: sighting.described,
            }),
        }
    }
    interfaces
}

impl Interface<'_> {
    /// Whether the agent said more of it than that it exists.
    pub(super) fn is_described(&self) -> bool {
        self.described.is_some()
    }

    fn add(&mut self, sighting: &Sighting) {
        self.first_us = self.first_us.min(sighting.at_us);
        if sighting.at_us >= self.last_us {
            self.last_us = sighting.at_us;
            self.ifindex = sighting.ifindex;
        }
        if let Some(described) = sighting.described
            && self
                .described
                .is_none_or(|known| described.at_us >= known.at_us)
        {
            self.described = Some(described);
        }
    }
}

fn describe(interface: &wire::Interface, at_us: i64) -> Result<Described, Invalid> {
    check_name("name", &interface.name)?;
    let mac = match interface.mac.len() {
        0 => None,
        6 => <[u8; 6]>::try_from(interface.mac.as_slice()).ok(),
        length => {
            return Err(Invalid::new(
                "mac",
                format_args!("{length} octets, not 0 or 6"),
            ));
        }
    };
    let speed: i64 = fit("link_speed_bps", interface.link_speed_bps)?;
    Ok(Described {
        at_us,
        mac,
        mtu: interface.mtu.into(),
        link_speed_bps: (speed > 0).then_some(speed),
        monitored: interface.monitored,
    })
}

/// A description replaces an older one; the times only ever widen. Batches may come in any order.
const UPSERT: &str = "
INSERT INTO interfaces AS i (agent_id, name, ifindex, mac, mtu, link_speed_bps, monitored,
                             described_at, first_seen, last_seen)
SELECT r.agent_id, r.name, r.ifindex, r.mac, r.mtu, r.link_speed_bps, r.monitored,
       timestamptz 'epoch' + r.described_us * interval '1 microsecond',
       timestamptz 'epoch' + r.first_us * interval '1 microsecond',
       timestamptz 'epoch' + r.last_us * interval '1 microsecond'
FROM unnest($1::int8[], $2::text[], $3::int8[], $4::bytea[], $5::int8[], $6::int8[], $7::bool[],
            $8::int8[], $9::int8[], $10::int8[])
  AS r (agent_id, name, ifindex, mac, mtu, link_speed_bps, monitored, described_us, first_us, last_us)
ON CONFLICT (agent_id, name) DO UPDATE SET
    ifindex = CASE WHEN EXCLUDED.last_seen >= i.last_seen THEN EXCLUDED.ifindex ELSE i.ifindex END,
    mac = CASE WHEN EXCLUDED.described_at >= coalesce(i.described_at, '-infinity')
        THEN EXCLUDED.mac ELSE i.mac END,
    mtu = CASE WHEN EXCLUDED.described_at >= coalesce(i.described_at, '-infinity')
        THEN EXCLUDED.mtu ELSE i.mtu END,
    link_speed_bps = CASE WHEN EXCLUDED.described_at >= coalesce(i.described_at, '-infinity')
        THEN EXCLUDED.link_speed_bps ELSE i.link_speed_bps END,
    monitored = CASE WHEN EXCLUDED.described_at >= coalesce(i.described_at, '-infinity')
        THEN EXCLUDED.monitored ELSE i.monitored END,
    described_at = greatest(i.described_at, EXCLUDED.described_at),
    first_seen = least(i.first_seen, EXCLUDED.first_seen),
    last_seen = greatest(i.last_seen, EXCLUDED.last_seen)";

/// Writes interfaces, which come in the order of their keys.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    interfaces: &[Interface<'_>],
) -> Result<(), StoreError> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let each = Columns(interfaces);
    let done = sqlx::query(UPSERT)
        .bind(each.of(|row| row.agent))
        .bind(each.of(|row| row.name))
        .bind(each.of(|row| row.ifindex))
        .bind(each.of(|row| row.described.and_then(|d| d.mac).map(Vec::from)))
        .bind(each.of(|row| row.described.map_or(0, |d| d.mtu)))
        .bind(each.of(|row| row.described.and_then(|d| d.link_speed_bps)))
        // It was measured, so it is monitored.
        .bind(each.of(|row| row.described.is_none_or(|d| d.monitored)))
        .bind(each.of(|row| row.described.map(|d| d.at_us)))
        .bind(each.of(|row| row.first_us))
        .bind(each.of(|row| row.last_us))
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
    counted("interfaces", interfaces.len() as u64, done.rows_affected())
}

/// One array per column.
struct Columns<'a>(&'a [Interface<'a>]);

impl<'a> Columns<'a> {
    fn of<T>(&self, column: impl Fn(&Interface<'a>) -> T) -> Vec<T> {
        self.0.iter().map(column).collect()
    }
}
