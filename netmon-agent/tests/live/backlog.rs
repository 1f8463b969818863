//! A day that an agent spent without a server, handed over while new data flows.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use netmon_agent::{
    clock::{Now, Synchronisation},
    spool::{Caps, End, Limits, Options, SEGMENT_BYTES, Spool, SyncPolicy, rank},
};
use netmon_common::wire::{
    BandwidthFrame, Counters, DirectionDeltas, Kind, NtpExchange, NtpMatch, NtpPacket,
};
use netmon_lab::{privileges, wait_until};

use crate::{
    bandwidth::peer,
    outages::under_traffic,
    site::{METRICS, Site},
};

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 24 * 3600;
const FRAME_S: i64 = 15;
const SAMPLES: usize = 30;
const INTERFACES: [u32; 2] = [900, 901];
/// Packets of each sample.
const PACKETS: u64 = 7;
/// Exchanges of each batch; there is a batch of them every four seconds.
const EXCHANGES: usize = 20;
/// Less than half of what a day makes.
const SPOOL_BYTES: u64 = 24 << 20;

/// What went into the spool and what it gave up.
struct Day {
    epoch: u64,
    frames: u64,
    exchanges: u64,
    exchanges_lost: u64,
    exchange_batches_lost: u64,
}

const CLOCK: Synchronisation = Synchronisation {
    synchronised: true,
    maximum_error_us: 0,
    estimated_error_us: 0,
};

fn frame(ifindex: u32, number: u64, started_at_unix_ns: i64) -> BandwidthFrame {
    let per_sample = |value: u64| vec![value; SAMPLES];
    let deltas = DirectionDeltas {
        packets: per_sample(PACKETS),
        bytes: per_sample(PACKETS * 100),
        ..DirectionDeltas::default()
    };
    let packets = (number + 1) * SAMPLES as u64 * PACKETS;
    let total = Counters {
        packets,
        bytes: packets * 100,
        wire_packets: packets,
        wire_bytes: packets * 100,
    };
    BandwidthFrame {
        interface: format!("day{ifindex}"),
        ifindex,
        started_at_unix_ns,
        interval_us: vec![500_000; SAMPLES],
        ingress: Some(deltas.clone()),
        egress: Some(deltas),
        flags: vec![],
        ingress_total: Some(total),
        egress_total: Some(total),
        attachment: ifindex,
    }
}

fn exchange(at_unix_ns: i64) -> NtpExchange {
    NtpExchange {
        interface: "day900".into(),
        ifindex: 900,
        r#match: NtpMatch::Unanswered.into(),
        client: vec![198, 51, 100, 1],
        client_port: 40_000,
        server: vec![198, 51, 100, 2],
        server_port: 123,
        requested_at_unix_ns: at_unix_ns,
        request: Some(NtpPacket {
            version: 4,
            mode: 3,
            transmit_timestamp: at_unix_ns as u64,
            length: 48,
            ttl: 64,
            ..NtpPacket::default()
        }),
        null_reason: "unanswered".into(),
        ..NtpExchange::default()
    }
}

/// Twenty-four hours by a clock that is made up, through the real spool.
async fn a_day_without_a_server(directory: &Path) -> Result<Day> {
    let options = Options {
        directory: Some(directory.to_owned()),
        caps: Caps {
            disk_bytes: SPOOL_BYTES,
            memory_bytes: 64 << 20,
            max_age: Duration::from_secs(60 * DAY_S as u64),
            segment_bytes: SEGMENT_BYTES,
        },
        sync: SyncPolicy::Never,
    };
    let limits = Limits {
        max_records: 1000,
        max_age: Duration::from_secs(1),
        max_queue_bytes: 64 << 20,
    };
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let start_ns = i64::try_from(end.as_nanos())? - DAY_S * SECOND_NS;
    let epoch = u64::try_from(start_ns / 1_000_000)? << 10;
    let (spool, _) = Spool::open(&options, limits, epoch)?;
    let (mut frames, mut exchanges) = (0, 0);
    for second in 0..DAY_S {
        let now = Now {
            monotonic_ns: (second * SECOND_NS) as u64,
            unix_ns: start_ns + second * SECOND_NS,
        };
        let mut intake = spool.lock();
        if second % FRAME_S == FRAME_S - 1 {
            for ifindex in INTERFACES {
                let started = now.unix_ns - FRAME_S * SECOND_NS;
                let number = (second / FRAME_S) as u64;
                intake.push_bandwidth(now, frame(ifindex, number, started), CLOCK);
                frames += 1;
            }
        }
        if second % 4 == 0 {
            for nth in 0..EXCHANGES as i64 {
                intake.push_exchange(now, exchange(now.unix_ns + nth), CLOCK);
                exchanges += 1;
            }
        }
        intake.seal_if_due(now, CLOCK);
        drop(intake);
        if second % 600 == 0 {
            // Its thread must not be overrun by a day that passes in seconds.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let last = Now {
        monotonic_ns: (DAY_S * SECOND_NS) as u64,
        unix_ns: start_ns + DAY_S * SECOND_NS,
    };
    spool.lock().seal_last(last, CLOCK);
    let stopped = spool.stop().await;
    if stopped != (End::Stopped { lost: 0 }) {
        bail!("the spool ended with {stopped:?}");
    }
    let tally = spool.status().tally;
    let lost = |kind| -> (u64, u64) {
        (
            tally.omitted[rank(kind)].iter().sum(),
            tally.omitted_records[rank(kind)].iter().sum(),
        )
    };
    assert_eq!(lost(Kind::Bandwidth), (0, 0), "the most valuable stays");
    let (exchange_batches_lost, exchanges_lost) = lost(Kind::Exchanges);
    assert!(exchanges_lost > exchanges / 4, "the spool was too small");
    privileges::give_all_in(directory)?;
    Ok(Day {
        epoch,
        frames,
        exchanges,
        exchanges_lost,
        exchange_batches_lost,
    })
}

#[test]
fn a_day_offline_arrives_whole_but_for_what_was_given_up_while_new_data_flows() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let day = runtime.block_on(a_day_without_a_server(&site.spool()?))?;
    let namespace = site.agent_namespace.clone();
    under_traffic(&namespace, &peer, || {
        // Short frames, so that new ones come while the old ones are handed over.
        site.agent_environment
            .push(("NETMON_AGENT__FRAME_INTERVAL", "500ms"));
        site.start_agent(&[])?;
        let fresh = format!(
            "select count(*) from bandwidth_stats where epoch > {}",
            day.epoch
        );
        let mut fresh_during_replay = 0;
        wait_until(Duration::from_secs(180), "the backlog to be stored", || {
            let waiting = site.metric(METRICS, "netmon_agent_spool_batches").ok()?;
            if waiting > 1000.0 {
                fresh_during_replay = site.sql_numbers(&fresh).ok()?[0];
            }
            (waiting < 10.0).then_some(())
        })
        .with_context(|| site.log("agent.log"))?;
        assert!(fresh_during_replay > 0, "what is new waits for no backlog");
        Ok(())
    })?;
    site.stop_agent()?;
    let of_day = format!("from bandwidth_stats where epoch = {}", day.epoch);
    let stored = site.sql_numbers(&format!("select count(*) {of_day}"))?;
    assert_eq!(stored, [day.frames]);
    let packets = day.frames * SAMPLES as u64 * PACKETS;
    let summed = format!("select sum((select sum(p) from unnest(ingress_packets) p)) {of_day}");
    assert_eq!(site.sql_numbers(&summed)?, [packets]);
    let rows = site.sql_numbers("select count(*) from ntp_exchanges where interface = 'day900'")?;
    assert_eq!(rows, [day.exchanges - day.exchanges_lost]);
    let oldest = "select count(*) from ntp_exchanges where interface = 'day900' \
                  and at < now() - interval '23 hours 50 minutes'";
    assert_eq!(site.sql_numbers(oldest)?, [0], "the oldest went");
    let omitted = site.sql_numbers("select sum(batches), sum(records) from ingest_omissions")?;
    assert_eq!(omitted, [day.exchange_batches_lost, day.exchanges_lost]);
    let streams = site.sql_numbers(&format!(
        "select count(*), count(*) filter (where settled_through = sealed_through) \
         from ingest_streams where epoch = {}",
        day.epoch
    ))?;
    assert_eq!(
        streams,
        [2, 2],
        "bandwidth and exchanges, with nothing outstanding"
    );
    Ok(())
}
