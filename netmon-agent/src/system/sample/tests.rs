//! Differences between readings.

use netmon_common::wire::CpuTicks;

use super::{
    super::parse::{Activity, Cpu, Disk, InterfaceErrors},
    *,
};
use crate::clock::Now;

const SECOND_NS: u64 = 1_000_000_000;

fn at(second: u64) -> Reading {
    Reading::empty(Now {
        monotonic_ns: second * SECOND_NS,
        unix_ns: 1_800_000_000_000_000_000 + (second * SECOND_NS) as i64,
    })
}

fn with_cores(second: u64, total: Ticks, cores: &[(u32, Ticks)]) -> Reading {
    Reading {
        cpu: Some(Cpu {
            total,
            cores: cores.to_vec(),
        }),
        ..at(second)
    }
}

fn disk(name: &str, all: u64) -> Disk {
    Disk {
        name: name.to_owned(),
        reads: all,
        writes: all,
        read_bytes: all * 512,
        written_bytes: all * 512,
        busy_ms: all,
    }
}

#[test]
fn the_first_reading_has_states_and_no_differences() {
    let reading = Reading {
        activity: Activity {
            runnable: Some(2),
            context_switches: Some(100),
            ..Activity::default()
        },
        disks: Some(vec![disk("sda", 5)]),
        interfaces: Some(vec![]),
        uptime_ms: Some(7),
        ..with_cores(1, [1; 8], &[(0, [1; 8])])
    };
    let sample = Sampler::default().sample(reading);
    assert_eq!(
        (sample.interval_us, sample.runnable, sample.uptime_ms),
        (0, Some(2), Some(7))
    );
    assert_eq!((sample.cpu, sample.cores), (None, None));
    assert_eq!(
        (sample.context_switches, sample.network_errors),
        (None, None)
    );
    assert!(sample.block_devices.is_empty());
}

#[test]
fn the_interval_is_by_the_monotonic_clock() {
    let mut sampler = Sampler::default();
    sampler.sample(at(10));
    let mut stepped = at(20);
    stepped.at.unix_ns -= 3600 * SECOND_NS as i64;
    assert_eq!(sampler.sample(stepped).interval_us, 10_000_000);
}

#[test]
fn a_core_that_goes_or_comes_is_left_out_until_it_was_there_twice() {
    let ticks = |n: u64| [n; 8];
    let mut sampler = Sampler::default();
    sampler.sample(with_cores(
        0,
        ticks(0),
        &[(0, ticks(0)), (1, ticks(0)), (2, ticks(0))],
    ));
    let mut seen = |reading| sampler.sample(reading).cores.unwrap();
    let gone = seen(with_cores(10, ticks(1), &[(0, ticks(1)), (2, ticks(3))]));
    assert_eq!((gone.core, gone.user), (vec![0, 2], vec![1, 3]));
    let back = seen(with_cores(
        20,
        ticks(2),
        &[(0, ticks(2)), (1, ticks(9)), (2, ticks(4))],
    ));
    assert_eq!((back.core, back.user), (vec![0, 2], vec![1, 1]));
    let stays = seen(with_cores(
        30,
        ticks(3),
        &[(0, ticks(3)), (1, ticks(9)), (2, ticks(4))],
    ));
    assert_eq!((stays.core, stays.user), (vec![0, 1, 2], vec![1, 0, 0]));
}

#[test]
fn a_kind_of_time_that_no_core_spent_is_not_sent() {
    let mut sampler = Sampler::default();
    sampler.sample(with_cores(0, [0; 8], &[(0, [0; 8])]));
    let now = [3, 0, 0, 7, 0, 0, 0, 0];
    let sample = sampler.sample(with_cores(10, now, &[(0, now)]));
    let cores = sample.cores.unwrap();
    assert_eq!((cores.user, cores.idle), (vec![3], vec![7]));
    assert!(cores.nice.is_empty() && cores.steal.is_empty());
    assert_eq!(
        sample.cpu,
        Some(CpuTicks {
            user: 3,
            idle: 7,
            ..CpuTicks::default()
        })
    );
}

#[test]
fn idle_time_that_the_kernel_corrects_counts_as_none() {
    let mut sampler = Sampler::default();
    sampler.sample(with_cores(0, [0, 0, 0, 500, 9, 0, 0, 0], &[]));
    let sample = sampler.sample(with_cores(10, [10, 0, 0, 490, 8, 0, 0, 0], &[]));
    assert_eq!(
        sample.cpu,
        Some(CpuTicks {
            user: 10,
            ..CpuTicks::default()
        })
    );
}

#[test]
fn counters_wrap_at_32_bits_and_begin_again() {
    for (before, now, expected) in [
        (5, 7, Some(2)),
        (5, 5, Some(0)),
        ((1 << 32) - 10, 20, Some(30)),
        (1000, 10, None),
        (u64::MAX - 1, 3, None),
        ((1 << 32) - 1, (1 << 31) + 5, None),
    ] {
        assert_eq!(risen(before, now), expected, "{before} {now}");
    }
}

#[test]
fn a_device_that_came_back_is_left_out_once() {
    let mut sampler = Sampler::default();
    let mut names = |second, disks| {
        let reading = Reading {
            disks: Some(disks),
            ..at(second)
        };
        let sample = sampler.sample(reading);
        let names = sample.block_devices.into_iter();
        names.map(|d| (d.name, d.reads)).collect::<Vec<_>>()
    };
    assert_eq!(names(0, vec![disk("sda", 100), disk("sdb", 100)]), []);
    assert_eq!(
        names(10, vec![disk("sda", 103), disk("sdb", 1)]),
        [("sda".to_owned(), 3)]
    );
    assert_eq!(
        names(20, vec![disk("sda", 103), disk("sdb", 2)]),
        [("sda".to_owned(), 0), ("sdb".to_owned(), 1)]
    );
}

#[test]
fn only_interfaces_with_new_errors_are_named() {
    let mut sampler = Sampler::default();
    let reading = |second, eth0| Reading {
        interfaces: Some(vec![
            InterfaceErrors {
                interface: "lo".to_owned(),
                counts: [9; 6],
            },
            InterfaceErrors {
                interface: "eth0".to_owned(),
                counts: eth0,
            },
        ]),
        ..at(second)
    };
    sampler.sample(reading(0, [1; 6]));
    let quiet = sampler.sample(reading(10, [1; 6])).network_errors.unwrap();
    assert!(quiet.interfaces.is_empty());
    let loud = sampler
        .sample(reading(20, [1, 1, 5, 1, 1, 1]))
        .network_errors
        .unwrap();
    assert_eq!(loud.interfaces.len(), 1);
    assert_eq!(
        (
            loud.interfaces[0].interface.as_str(),
            loud.interfaces[0].rx_dropped
        ),
        ("eth0", 4)
    );
}

#[test]
fn what_is_beyond_a_limit_is_counted() {
    let many: Vec<_> = (0..600).map(|core| (core, [1; 8])).collect();
    let mut sampler = Sampler::default();
    sampler.sample(with_cores(0, [0; 8], &many));
    let reading = Reading {
        temperatures: (0..70).map(|n| (format!("s{n}"), n)).collect(),
        excess: 3,
        ..with_cores(10, [1; 8], &many)
    };
    let sample = sampler.sample(reading);
    assert_eq!(sample.cores.unwrap().core.len(), limits::CORES);
    assert_eq!(sample.temperatures.len(), limits::TEMPERATURES);
    assert_eq!(sample.excess, 88 + 6 + 3);
}

/// Whatever the kernel shows, forward, back or wild, the kinds of time share the whole.
#[test]
fn shares_of_the_processors_sum_to_the_interval() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut sampler = Sampler::default();
    let mut ticks = [0_u64; 8];
    for second in 0..2000 {
        for kind in &mut ticks {
            *kind = match next() % 50 {
                0 => kind.saturating_sub(next() % 100),
                1 => next() >> (next() % 64),
                _ => kind.saturating_add(next() % 1000),
            };
        }
        let Some(cpu) = sampler.sample(with_cores(second, ticks, &[])).cpu else {
            continue;
        };
        let kinds = [
            cpu.user,
            cpu.nice,
            cpu.system,
            cpu.idle,
            cpu.iowait,
            cpu.irq,
            cpu.softirq,
            cpu.steal,
        ];
        let whole: u64 = kinds.iter().map(|kind| u64::from(*kind)).sum();
        if whole > 0 {
            let shares: f64 = kinds
                .iter()
                .map(|kind| f64::from(*kind) / whole as f64)
                .sum();
            assert!((shares - 1.0).abs() < 1e-9, "{kinds:?}");
            let busy = super::super::metrics::busy_ratio(&cpu).unwrap();
            assert!((0.0..=1.0).contains(&busy), "{kinds:?}");
        }
    }
}
