//! Readings of a host, made and stored.

use netmon_common::wire::{
    Batch, BlockDevice, CoreTicks, CpuTicks, FileSystem, InterfaceErrors, Kind, Load, Memory,
    NetworkErrors, SystemSample, Tcp, Temperature,
};
use netmon_server::{
    agent_id::AgentId,
    config::{Retention, RollUp},
    store::{Ageing, Committed, Store},
};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::server::Server;

pub const GIB: u64 = 1 << 30;
pub const PARTS: &str = "cores,file_systems,block_devices,interfaces,temperatures,tcp_states";

/// A full hour, some days ago.
pub fn ten() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc() - Duration::days(4);
    now.replace_time(time::macros::time!(10:00))
}

pub async fn server() -> (Server, Store) {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.agent(2, "core").await;
    let day = std::time::Duration::from_secs(86_400);
    let ageing = Ageing {
        retention: Retention {
            raw: day,
            ..Retention::default()
        },
        rollup: RollUp {
            quiet: std::time::Duration::ZERO,
            ..RollUp::default()
        },
        ..Ageing::default()
    };
    let store = Store::new(server.database.clone(), ageing);
    (server, store)
}

pub async fn store_samples(store: &Store, agent: i64, sequence: u64, samples: Vec<SystemSample>) {
    let batch = Batch {
        epoch: 7,
        sequence,
        kind: Kind::System.into(),
        sealed_at_unix_ns: samples[0].at_unix_ns,
        system: samples,
        ..Batch::default()
    };
    let rows = store.validate(AgentId::from_bigint(agent), &batch).unwrap();
    let committed = store.commit(&rows).await.unwrap();
    assert!(matches!(committed, Committed::Stored(_)), "{committed:?}");
    let again = store.commit(&rows).await.unwrap();
    assert_eq!(again, Committed::Duplicate);
}

/// A reading with something of everything; `n` makes each another.
pub fn sample(at: OffsetDateTime, n: u64) -> SystemSample {
    let small = n as u32;
    SystemSample {
        at_unix_ns: at.unix_timestamp_nanos() as i64,
        interval_us: if n == 0 { 0 } else { 10_000_000 },
        cpu: (n > 0).then_some(CpuTicks {
            user: 400 + small % 50,
            system: 100,
            idle: 1400,
            iowait: 60,
            softirq: 30,
            steal: 10,
            ..CpuTicks::default()
        }),
        cores: (n > 0).then(|| CoreTicks {
            core: vec![0, 2],
            user: vec![200 + small % 50, 200],
            system: vec![50, 50],
            idle: vec![700, 700],
            iowait: vec![30, 30],
            softirq: vec![15, 15],
            steal: vec![0, 10],
            ..CoreTicks::default()
        }),
        runnable: Some(2 + small % 3),
        blocked: Some(0),
        context_switches: (n > 0).then_some(1000 * n),
        interrupts: (n > 0).then_some(500),
        forks: (n > 0).then_some(20),
        load: Some(Load {
            one: 31 + small,
            five: 22,
            fifteen: 57,
            tasks: 300,
        }),
        memory: Some(Memory {
            total: 16 * GIB,
            free: 4 * GIB,
            available: Some(8 * GIB - n * 1_000_000),
            buffers: 1 << 20,
            cached: 5 * GIB,
            shared: 1 << 22,
            slab: 1 << 28,
            swap_total: 2 * GIB,
            swap_free: GIB,
        }),
        swapped_in_bytes: (n > 0).then_some(4096),
        swapped_out_bytes: (n > 0).then_some(0),
        file_systems: vec![FileSystem {
            mount_point: "/srv/a b".to_owned(),
            device: "/dev/sda1".to_owned(),
            r#type: "ext4".to_owned(),
            total: 100 * GIB,
            free: 50 * GIB - n,
            available: 40 * GIB - n,
            inodes: 1000,
            inodes_free: 500,
        }],
        block_devices: if n == 0 {
            vec![]
        } else {
            vec![BlockDevice {
                name: "sda".to_owned(),
                reads: 10,
                writes: n,
                read_bytes: 40_960,
                written_bytes: 4096 * n,
                busy_ms: 2500,
            }]
        },
        network_errors: (n > 0).then(|| NetworkErrors {
            interfaces: if n.is_multiple_of(5) {
                vec![InterfaceErrors {
                    interface: "eth0".to_owned(),
                    rx_dropped: 3,
                    ..InterfaceErrors::default()
                }]
            } else {
                vec![]
            },
        }),
        tcp: Some(Tcp {
            states: vec![5, 0, 0, 0, 0, small, 0, 0, 0, 9, 0],
            segments_sent: (n > 0).then_some(100),
            segments_retransmitted: (n > 0).then_some(1),
            resets_sent: (n > 0).then_some(0),
            connections_reset: (n > 0).then_some(2),
        }),
        sockets_used: Some(40),
        uptime_ms: Some(1_000_000 + n * 10_000),
        temperatures: vec![Temperature {
            sensor: "coretemp/Package id 0".to_owned(),
            millidegrees_celsius: 45_000 + n as i32,
        }],
        excess: 0,
    }
}

pub fn samples(numbers: impl Iterator<Item = u64>) -> Vec<SystemSample> {
    let at = |n: u64| ten() + Duration::seconds(10 * n as i64);
    numbers.map(|n| sample(at(n), n)).collect()
}

pub fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

/// Two hours from ten.
pub fn uri(agent: &str, step: &str) -> String {
    let (from, to) = (rfc3339(ten()), rfc3339(ten() + Duration::hours(2)));
    format!("/api/v1/agents/{agent}/system?from={from}&to={to}&step={step}&parts={PARTS}")
}
