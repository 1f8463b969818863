//! `…/system` and `…/system/latest`: readings stored as agents send them, shown as they were and as
//! they are rolled up.

mod samples;

use axum::http::StatusCode;
use netmon_common::wire::{Batch, FileSystem, Kind, SystemSample};
use netmon_server::agent_id::AgentId;
use samples::{GIB, PARTS, rfc3339, sample, samples, server, store_samples, ten, uri};
use serde_json::{Value, json};
use time::Duration;

#[tokio::test]
async fn the_newest_reading_comes_back_whole() {
    let (server, store) = server().await;
    store_samples(&store, 1, 1, samples(0..6)).await;
    let latest = server.json("/api/v1/agents/edge/system/latest").await;
    let at = ten() + Duration::seconds(50);
    let cpu = |user: f64, steal: f64, whole: f64, busy_max: Value| {
        json!({
            "busy_ratio": user / whole + 50.0 / whole + 15.0 / whole + steal / whole,
            "busy_ratio_max": busy_max,
            "user_ratio": user / whole, "nice_ratio": 0.0, "system_ratio": 50.0 / whole,
            "idle_ratio": 700.0 / whole, "iowait_ratio": 30.0 / whole, "irq_ratio": 0.0,
            "softirq_ratio": 15.0 / whole, "steal_ratio": steal / whole,
        })
    };
    let expected = json!({
        "agent": "0000000000000001",
        "agent_alias": "edge",
        "agent_version": "0.1.0",
        "kernel_release": "6.1.0",
        "read_at": rfc3339(at),
        "interval_ms": 10_000,
        "booted_at": rfc3339(at - Duration::seconds(1050)),
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&latest[key], value, "{key}");
    }
    let cores = latest["cores_by_use"].as_array().unwrap();
    assert_eq!(
        (&cores[0]["core"], &cores[1]["core"]),
        (&json!(0), &json!(2))
    );
    close(
        &cores[0]["cpu"],
        &cpu(205.0, 0.0, 1000.0, Value::Null),
        "core 0",
    );
    close(
        &cores[1]["cpu"],
        &cpu(200.0, 10.0, 1005.0, Value::Null),
        "core 2",
    );
    let busy = 545.0 / 2005.0;
    let reading = json!({
        "at": rfc3339(at),
        "samples": 1,
        "cpu": {
            "busy_ratio": busy, "busy_ratio_max": busy,
            "user_ratio": 405.0 / 2005.0, "nice_ratio": 0.0, "system_ratio": 100.0 / 2005.0,
            "idle_ratio": 1400.0 / 2005.0, "iowait_ratio": 60.0 / 2005.0, "irq_ratio": 0.0,
            "softirq_ratio": 30.0 / 2005.0, "steal_ratio": 10.0 / 2005.0,
        },
        "load": {"load_1": 0.36, "load_5": 0.22, "load_15": 0.57, "load_1_max": 0.36},
        "tasks": {
            "total": 300.0, "total_max": 300, "runnable": 4.0, "runnable_max": 4, "blocked": 0.0,
            "blocked_max": 0, "forks_per_second": 2.0, "context_switches_per_second": 500.0,
            "interrupts_per_second": 50.0,
        },
        "memory": {
            "total_bytes": 16 * GIB, "free_bytes": 4 * GIB,
            "available_bytes": 8 * GIB - 5_000_000, "available_bytes_min": 8 * GIB - 5_000_000,
            "buffers_bytes": 1 << 20, "cached_bytes": 5 * GIB, "shared_bytes": 1 << 22,
            "slab_bytes": 1 << 28,
        },
        "swap": {
            "total_bytes": 2 * GIB, "free_bytes": GIB, "free_bytes_min": GIB,
            "in_bytes_per_second": 409.6, "out_bytes_per_second": 0.0,
        },
        "tcp": {
            "segments_sent_per_second": 10.0, "segments_retransmitted_per_second": 0.1,
            "resets_sent_per_second": 0.0, "connections_reset_per_second": 0.2,
        },
        "sockets_used": 40.0,
        "sockets_used_max": 40,
        "uptime_seconds": 1050.0,
        "cores": [
            {"core": 0, "busy_ratio": 0.27},
            {"core": 2, "busy_ratio": 275.0 / 1005.0},
        ],
        "file_systems": [{
            "mount_point": "/srv/a b", "device": "/dev/sda1", "type": "ext4",
            "total_bytes": 100 * GIB, "free_bytes": 50 * GIB - 5, "available_bytes": 40 * GIB - 5,
            "inodes": 1000, "inodes_free": 500,
        }],
        "block_devices": [{
            "device": "sda", "reads_per_second": 1.0, "writes_per_second": 0.5,
            "read_bytes_per_second": 4096.0, "written_bytes_per_second": 2048.0,
            "busy_ratio": 0.25,
        }],
        "interfaces": [{
            "interface": "eth0", "rx_errors": 0, "tx_errors": 0, "rx_dropped": 3, "tx_dropped": 0,
            "overruns": 0, "collisions": 0,
        }],
        "temperatures": [{"sensor": "coretemp/Package id 0", "celsius": 45.005}],
        "tcp_states": {
            "close": 0, "close_wait": 0, "closing": 0, "established": 5, "fin_wait1": 0,
            "fin_wait2": 0, "last_ack": 0, "listen": 9, "syn_recv": 0, "syn_sent": 0,
            "time_wait": 5,
        },
    });
    close(&latest["reading"], &reading, "reading");
}

/// Equal, numbers but for what is left of floating point.
fn close(got: &Value, wanted: &Value, place: &str) {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            assert_eq!(got.len(), wanted.len(), "{place}: {got:?}");
            for (key, wanted) in wanted {
                close(
                    got.get(key).unwrap_or(&Value::Null),
                    wanted,
                    &format!("{place}.{key}"),
                );
            }
        }
        (Value::Array(got), Value::Array(wanted)) => {
            assert_eq!(got.len(), wanted.len(), "{place}");
            for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                close(got, wanted, &format!("{place}[{index}]"));
            }
        }
        (Value::Number(got), Value::Number(wanted)) => {
            let (got, wanted) = (got.as_f64().unwrap(), wanted.as_f64().unwrap());
            let most = 1e-9 * wanted.abs().max(1.0);
            assert!((got - wanted).abs() <= most, "{place}: {got}, not {wanted}");
        }
        _ => assert_eq!(got, wanted, "{place}"),
    }
}

#[tokio::test]
async fn the_first_reading_of_a_run_has_states_and_no_rates() {
    let (server, store) = server().await;
    store_samples(&store, 1, 1, samples(0..1)).await;
    let latest = server.json("/api/v1/agents/edge/system/latest").await;
    let reading = &latest["reading"];
    assert_eq!(latest["interval_ms"], json!(0));
    assert_eq!(reading["cpu"], json!(null));
    assert_eq!(reading["tasks"]["forks_per_second"], json!(null));
    assert_eq!(reading["load"]["load_1"], json!(0.31));
    assert_eq!(reading["block_devices"], json!([]));
}

#[tokio::test]
async fn a_point_without_readings_is_absent_and_lists_come_when_asked_for() {
    let (server, store) = server().await;
    store_samples(&store, 1, 1, samples([1, 2, 13].into_iter())).await;
    let plain = uri("edge", "1m").replace(&format!("&parts={PARTS}"), "");
    let system = server.json(&plain).await;
    let items = system["items"].as_array().unwrap();
    let samples: Vec<_> = items.iter().map(|item| item["samples"].clone()).collect();
    assert_eq!(samples, [json!(2), json!(1)]);
    assert_eq!(system["resolution"], json!("raw"));
    assert_eq!(items[1]["at"], json!(rfc3339(ten() + Duration::minutes(2))));
    assert!(items[0].get("cores").is_none());
    assert_eq!(server.json(&uri("core", "1m")).await["items"], json!([]));
}

#[tokio::test]
async fn roll_ups_answer_as_the_readings_do() {
    let (server, store) = server().await;
    // Made before anything is stored, so that nothing is late.
    store.maintain_once(ten()).await.unwrap();
    store_samples(&store, 1, 1, samples(0..700)).await;
    let mut raw = Vec::new();
    for step in ["1h", "1m"] {
        let answer = server.json(&uri("edge", step)).await;
        assert_eq!(answer["resolution"], json!("raw"));
        raw.push(answer);
    }
    store
        .roll_up_once(ten() + Duration::hours(4))
        .await
        .unwrap();
    for (raw, resolution) in raw.iter().zip(["1h", "1m"]) {
        let rolled = server.json(&uri("edge", resolution)).await;
        assert_eq!(rolled["resolution"], json!(resolution));
        close(&rolled["items"], &raw["items"], resolution);
    }
    assert_eq!(raw[0]["items"].as_array().unwrap().len(), 2);
    assert_eq!(raw[0]["items"][0]["samples"], json!(360));
}

#[tokio::test]
async fn readings_that_come_after_their_day_was_dropped_are_added_to_the_sums() {
    let (server, store) = server().await;
    store.maintain_once(ten()).await.unwrap();
    let late = |n: &u64| (100..400).contains(n);
    store_samples(&store, 1, 1, samples((0..700).filter(|n| !late(n)))).await;
    store_samples(&store, 2, 1, samples(0..700)).await;
    // Raw readings of the day go.
    let dropped = store
        .maintain_once(ten() + Duration::hours(42))
        .await
        .unwrap();
    let dropped = format!("{dropped:?}");
    assert!(dropped.contains("system_stats_"), "{dropped}");
    store_samples(&store, 1, 2, samples((0..700).filter(late))).await;
    store
        .roll_up_once(ten() + Duration::hours(42))
        .await
        .unwrap();
    for step in ["1h", "1m"] {
        let whole = server.json(&uri("core", step)).await;
        let folded = server.json(&uri("edge", step)).await;
        assert_eq!(folded["resolution"], json!(step));
        close(&folded["items"], &whole["items"], step);
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let (server, _store) = server().await;
    let answer = server.get("/api/v1/agents/edge/system/latest").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["code"], "no_system_data");
    let answer = server.get("/api/v1/agents/edge/system?parts=core").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["parameter"], "parts");
}

#[tokio::test]
async fn one_bad_field_refuses_the_batch_and_is_named() {
    type Spoil = fn(&mut SystemSample);
    let (_server, store) = server().await;
    let cases: &[(&str, Spoil)] = &[
        ("system[0].at_unix_ns: ", |s| s.at_unix_ns = 0),
        ("system[0].interval_us: ", |s| s.interval_us = u64::MAX),
        ("system[0].cpu: ", |s| {
            s.cpu.as_mut().unwrap().user = u32::MAX
        }),
        ("system[0].cores.core: ", |s| {
            s.cores.as_mut().unwrap().core = vec![2, 0]
        }),
        ("system[0].cores: ", |s| {
            s.cores.as_mut().unwrap().user.push(1)
        }),
        ("system[0].memory: ", |s| {
            s.memory.as_mut().unwrap().slab = u64::MAX
        }),
        ("system[0].file_systems[0].names: ", |s| {
            s.file_systems[0].mount_point.clear()
        }),
        ("system[0].file_systems: ", |s| {
            s.file_systems.push(s.file_systems[0].clone())
        }),
        ("system[0].file_systems: ", |s| {
            s.file_systems = (0..33)
                .map(|n| FileSystem {
                    mount_point: n.to_string(),
                    ..s.file_systems[0].clone()
                })
                .collect();
        }),
        ("system[0].block_devices[0].reads: ", |s| {
            s.block_devices[0].reads = 1 << 31
        }),
        ("system[0].block_devices[0].name: ", |s| {
            s.block_devices[0].name = "a\0b".to_owned()
        }),
        ("system[0].network_errors[0].interface: ", |s| {
            s.network_errors.as_mut().unwrap().interfaces[0].interface = "a/b".to_owned();
        }),
        ("system[0].tcp.states: ", |s| {
            s.tcp.as_mut().unwrap().states.push(1)
        }),
        ("system[0].temperatures: ", |s| {
            s.temperatures[0].sensor = "x".repeat(129)
        }),
    ];
    for (place, spoil) in cases {
        let mut spoilt = sample(ten(), 5);
        spoil(&mut spoilt);
        let batch = Batch {
            epoch: 7,
            sequence: 1,
            kind: Kind::System.into(),
            sealed_at_unix_ns: sample(ten(), 5).at_unix_ns,
            system: vec![spoilt],
            ..Batch::default()
        };
        let invalid = store.validate(AgentId::from_bigint(1), &batch).unwrap_err();
        assert!(
            invalid.to_string().starts_with(place),
            "{invalid} should name {place}"
        );
    }
}
