//! Interfaces by name: what agents said of them, and when they were last measured.

use netmon_common::wire::{self, Batch};
use sqlx::PgConnection;

use super::{Invalid, invalid::fit, rows::Rows};

/// A kernel name has at most 15 bytes (IFNAMSIZ); an agent that makes UTF-8 of it may turn each
/// into a three-byte replacement character.
const MAX_NAME_BYTES: usize = 45;

/// One interface as a batch knows it.
#[derive(Debug)]
pub(super) struct Interface {
    ifindex: i64,
    first_us: i64,
    last_us: i64,
    /// What the agent said of it; a frame alone says only that it exists.
    described: Option<Described>,
}

#[derive(Debug)]
struct Described {
    at_us: i64,
    mac: Option<Vec<u8>>,
    mtu: i64,
    link_speed_bps: Option<i64>,
    monitored: bool,
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
        let row = Interface {
            ifindex: interface.ifindex.into(),
            first_us: sealed_at_us,
            last_us: sealed_at_us,
            described: Some(described),
        };
        rows.interfaces.insert(interface.name.clone(), row);
    }
    Ok(())
}

/// Notes that an interface was measured at a time.
pub(super) fn seen(rows: &mut Rows, name: &str, ifindex: u32, at_us: i64) {
    match rows.interfaces.get_mut(name) {
        Some(row) => {
            row.first_us = row.first_us.min(at_us);
            row.last_us = row.last_us.max(at_us);
        }
        None => {
            let row = Interface {
                ifindex: ifindex.into(),
                first_us: at_us,
                last_us: at_us,
                described: None,
            };
            rows.interfaces.insert(name.to_owned(), row);
        }
    }
}

fn describe(interface: &wire::Interface, at_us: i64) -> Result<Described, Invalid> {
    check_name("name", &interface.name)?;
    let mac = match interface.mac.len() {
        0 => None,
        6 => Some(interface.mac.clone()),
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
SELECT $1, r.name, r.ifindex, r.mac, r.mtu, r.link_speed_bps, r.monitored,
       timestamptz 'epoch' + r.described_us * interval '1 microsecond',
       timestamptz 'epoch' + r.first_us * interval '1 microsecond',
       timestamptz 'epoch' + r.last_us * interval '1 microsecond'
FROM unnest($2::text[], $3::int8[], $4::bytea[], $5::int8[], $6::int8[], $7::bool[], $8::int8[],
            $9::int8[], $10::int8[])
  AS r (name, ifindex, mac, mtu, link_speed_bps, monitored, described_us, first_us, last_us)
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

/// Writes the batch's interfaces, in the order of their names.
pub(super) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> sqlx::Result<()> {
    let interfaces = &rows.interfaces;
    let described = |row: &Interface| row.described.as_ref().map(|d| d.at_us);
    let mac = |row: &Interface| row.described.as_ref().and_then(|d| d.mac.clone());
    let mtu = |row: &Interface| row.described.as_ref().map_or(0, |d| d.mtu);
    let speed = |row: &Interface| row.described.as_ref().and_then(|d| d.link_speed_bps);
    // It was measured, so it is monitored.
    let monitored = |row: &Interface| row.described.as_ref().is_none_or(|d| d.monitored);
    sqlx::query(UPSERT)
        .bind(rows.agent.to_bigint())
        .bind(interfaces.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(
            interfaces
                .values()
                .map(|row| row.ifindex)
                .collect::<Vec<_>>(),
        )
        .bind(interfaces.values().map(mac).collect::<Vec<_>>())
        .bind(interfaces.values().map(mtu).collect::<Vec<_>>())
        .bind(interfaces.values().map(speed).collect::<Vec<_>>())
        .bind(interfaces.values().map(monitored).collect::<Vec<_>>())
        .bind(interfaces.values().map(described).collect::<Vec<_>>())
        .bind(
            interfaces
                .values()
                .map(|row| row.first_us)
                .collect::<Vec<_>>(),
        )
        .bind(
            interfaces
                .values()
                .map(|row| row.last_us)
                .collect::<Vec<_>>(),
        )
        .execute(connection)
        .await?;
    Ok(())
}
