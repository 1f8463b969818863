//! How fast addresses are located, and what that takes: `cargo xtask bench geo`.
//!
//! One thread, random addresses that are made before the clock starts. The clock is that of the
//! thread's own time on a processor, so that others on the machine matter little. It fails when a
//! figure misses the aim.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
    time::{Duration, Instant},
};

use netmon_geo::{Atlas, range_file::RangeFile};
use nix::time::{ClockId, clock_gettime};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const COUNTRY: &[u8] = include_bytes!("../data/country.bin");
const CHINA: &[u8] = include_bytes!("../data/china.bin");

/// Look-ups a second of one thread.
const AIM: f64 = 2e6;

/// Addresses of one round, and rounds.
const ADDRESSES: usize = 1 << 20;
const ROUNDS: usize = 8;

fn main() -> ExitCode {
    let begun = Instant::now();
    let atlas = Atlas::embedded();
    let opened = begun.elapsed();
    println!("{}", atlas.edition().description);
    println!(
        "files: country.bin {} octets, china.bin {} octets; in memory {:.1} MB; unpacked in {:.0} ms",
        COUNTRY.len(),
        CHINA.len(),
        atlas.memory_bytes() as f64 / 1e6,
        opened.as_secs_f64() * 1e3,
    );
    println!(
        "seed 6, {ADDRESSES} addresses, {ROUNDS} rounds, one thread, by its processor time; the aim is {AIM:.0}/s"
    );
    let mut random = StdRng::seed_from_u64(6);
    let mut reached = true;
    for (name, addresses) in [
        (
            "IPv4, any",
            addresses(|| Ipv4Addr::from(random.random::<u32>()).into()),
        ),
        ("IPv4, Chinese", chinese()),
        ("IPv6, of 2000::/3", {
            let mut random = StdRng::seed_from_u64(6);
            addresses(|| Ipv6Addr::from(random.random::<u128>() >> 3 | 1 << 125).into())
        }),
        ("IPv6, located", located_v6(&atlas)),
    ] {
        let begun = processor_time();
        let mut known = 0u64;
        for _ in 0..ROUNDS {
            for address in &addresses {
                known += u64::from(!black_box(atlas.locate(*address)).is_unknown());
            }
        }
        let asked = (ADDRESSES * ROUNDS) as f64;
        let rate = asked / (processor_time() - begun).as_secs_f64();
        let share = known as f64 / asked * 100.0;
        println!(
            "{name:18} {:6.2} M/s  ({share:.1} % with a country)",
            rate / 1e6
        );
        reached &= rate >= AIM;
    }
    match reached {
        true => ExitCode::SUCCESS,
        false => {
            println!("FAILED: slower than {AIM:.0}/s");
            ExitCode::FAILURE
        }
    }
}

fn processor_time() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock_gettime(clock)
        .expect("every thread has that clock")
        .into()
}

fn addresses(mut one: impl FnMut() -> IpAddr) -> Vec<IpAddr> {
    (0..ADDRESSES).map(|_| one()).collect()
}

/// Drawn from the Chinese ranges, each address alike.
fn chinese() -> Vec<IpAddr> {
    let file = RangeFile::from_bytes(COUNTRY).expect("the embedded file");
    let starts: Vec<_> = file.v4().collect();
    let ranges = starts.windows(2).filter(|pair| pair[0].1.country() == "CN");
    let ranges: Vec<_> = ranges.map(|pair| (pair[0].0, pair[1].0)).collect();
    let mut random = StdRng::seed_from_u64(6);
    let sum: u32 = ranges.iter().map(|(from, to)| to - from).sum();
    addresses(|| {
        let mut nth = random.random_range(0..sum);
        for (from, to) in &ranges {
            if nth < to - from {
                return Ipv4Addr::from(from + nth).into();
            }
            nth -= to - from;
        }
        unreachable!("it is less than their sum")
    })
}

/// Drawn from the beginnings of ranges, which are where addresses are in use.
fn located_v6(atlas: &Atlas) -> Vec<IpAddr> {
    let file = RangeFile::from_bytes(COUNTRY).expect("the embedded file");
    let starts: Vec<_> = file.v6().map(|(start, _)| Ipv6Addr::from(start)).collect();
    let mut random = StdRng::seed_from_u64(6);
    addresses(|| {
        loop {
            let address = starts[random.random_range(0..starts.len())].into();
            if !atlas.locate(address).is_unknown() {
                return address;
            }
        }
    })
}
