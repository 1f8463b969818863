//! How many lines a second one core reads, by format.
//!
//! `cargo bench -p netmon-feeds`

use std::{
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use netmon_feeds::{Cutter, Line, Options, Parser, lines};

/// Lines of a log.
const LINES: u32 = 1_000_000;

/// Each format is measured so long at least.
const LEAST: Duration = Duration::from_secs(2);

fn main() {
    println!("{:<14} {:>12} {:>10}", "FORMAT", "LINES/S", "MB/S");
    let parser = |name: &str, head: &str, line: &dyn Fn(u32, Ipv4Addr) -> String| {
        let mut log = head.as_bytes().to_vec();
        for n in 0..LINES {
            // Spread over 1.0.0.0 to 8.255.255.255, all of them ordinary addresses.
            let address = 0x0100_0000 + (u64::from(n) * 2_654_435_761 % 0x0700_0000) as u32;
            log.extend_from_slice(line(n, address.into()).as_bytes());
            log.push(b'\n');
        }
        let (rounds, elapsed) = measure(&log);
        let seconds = elapsed.as_secs_f64() / f64::from(rounds);
        println!(
            "{name:<14} {:>12.0} {:>10.0}",
            f64::from(LINES) / seconds,
            log.len() as f64 / seconds / 1e6
        );
    };
    parser("ip", "", &|_, ip| ip.to_string());
    parser("ip:port", "", &|n, ip| format!("{ip}:{}", n % 60_000 + 1));
    parser("time ip", "", &|n, ip| {
        format!("2026-11-20 10:{:02}:{:02} {ip}", n / 60 % 60, n % 60)
    });
    parser("time,ip,port", "", &|n, ip| {
        format!(
            "2026-11-20T10:{:02}:{:02}Z,{ip},{}",
            n / 60 % 60,
            n % 60,
            n % 60_000 + 1
        )
    });
    parser("shadowserver", SHADOWSERVER, &|n, ip| {
        format!(
            "\"2026-11-20 10:{:02}:{:02}\",\"critical\",\"tcp\",\"{ip}\",\"{}\",\"4134\",\"CN\",\"JIANGSU\",\
             \"NANJING\",\"\",\"\",\"mozi\"",
            n / 60 % 60,
            n % 60,
            n % 60_000 + 1
        )
    });
    parser("ndjson", "", &|n, ip| {
        format!(
            "{{\"source.ip\": \"{ip}\", \"source.port\": {}, \"time.source\": \
             \"2026-11-20T10:{:02}:{:02}+00:00\", \"malware.name\": \"mozi\", \
             \"classification.taxonomy\": \"malicious-code\", \"feed.accuracy\": 100.0}}",
            n % 60_000 + 1,
            n / 60 % 60,
            n % 60
        )
    });
    parser("cef", "", &|n, ip| {
        format!(
            "Nov 20 10:00:00 sensor CEF:0|maker|product|1.0|7|Mozi seen|5|src={ip} spt={} \
             end={} act=blocked msg=Mozi.m asked for",
            n % 60_000 + 1,
            1_795_168_800_000_u64 + u64::from(n)
        )
    });
}

const SHADOWSERVER: &str = "\"timestamp\",\"severity\",\"protocol\",\"src_ip\",\"src_port\",\"src_asn\",\
    \"src_geo\",\"src_region\",\"src_city\",\"src_hostname\",\"src_naics\",\"infection\"\n";

/// Cuts and reads the log again and again.
fn measure(log: &[u8]) -> (u32, Duration) {
    let mut rounds = 0;
    let begin = Instant::now();
    while begin.elapsed() < LEAST {
        let mut parser = Parser::new(Options {
            family: vec!["mozi".to_owned()],
            ..Options::default()
        });
        let mut cutter = Cutter::new();
        let mut sightings = 0;
        let mut read = |raw: &[u8]| {
            for line in lines(raw) {
                let outcome = black_box(parser.line(line));
                sightings += u32::from(matches!(outcome, Line::Sighting(_)));
            }
        };
        for piece in log.chunks(64 << 10) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (taken, chunk) = cutter.push(rest);
                rest = &rest[taken..];
                if let Some(chunk) = chunk {
                    read(&chunk.raw);
                }
            }
        }
        if let Some(chunk) = cutter.finish() {
            read(&chunk.raw);
        }
        assert_eq!(sightings, LINES, "every line is a sighting");
        rounds += 1;
    }
    (rounds, begin.elapsed())
}
