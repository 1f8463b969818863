//! A million damaged lines: none makes the parser fail, and each has one outcome.

use std::{fs, path::Path};

use netmon_feeds::{Cutter, Format, Line, Options, Parser, Special, lines};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Damaged lines; `NETMON_FUZZ_LINES` makes them more or fewer, `NETMON_FUZZ_SEED` other ones.
const LINES: u64 = 1_000_000;

/// Lines of a damaged log.
const PER_LOG: usize = 500;

#[test]
fn damaged_lines_have_one_outcome_each() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let wanted: u64 = number("NETMON_FUZZ_LINES").unwrap_or(LINES);
    let seed = number("NETMON_FUZZ_SEED").unwrap_or(1);
    let mut random = StdRng::seed_from_u64(seed);
    let corpus = corpus();
    let mut read = 0;
    let (mut sightings, mut rejected) = (0_u64, 0_u64);
    for round in 0.. {
        if read >= wanted {
            break;
        }
        let log = damaged(&corpus, &mut random);
        let mut parser = Parser::new(Options {
            // Most often the one that all lines can have.
            format: match round % 4 {
                0 => Format::ALL[round / 4 % Format::ALL.len()],
                _ => Format::Auto,
            },
            special: if round % 2 == 0 {
                Special::Refuse
            } else {
                Special::Accept
            },
            family: vec!["mozi".to_owned()],
            ..Options::default()
        });
        let mut outcomes = 0;
        let mut take = |raw: &[u8]| {
            for line in lines(raw) {
                outcomes += 1;
                match parser.line(line) {
                    Line::Sighting(sighting) => {
                        sightings += 1;
                        assert_eq!(sighting.address, sighting.address.to_canonical());
                    }
                    Line::Rejected(_) => rejected += 1,
                    Line::Skipped(_) => {}
                }
            }
        };
        let mut cutter = Cutter::new();
        let mut rest = &log[..];
        while !rest.is_empty() {
            let piece = random.random_range(1..=rest.len().min(10_000));
            let (taken, chunk) = cutter.push(&rest[..piece]);
            rest = &rest[taken..];
            if let Some(chunk) = chunk {
                take(&chunk.raw);
            }
        }
        if let Some(chunk) = cutter.finish() {
            take(&chunk.raw);
        }
        let ends = log.iter().filter(|octet| **octet == b'\n').count();
        let open = usize::from(log.last().is_some_and(|octet| *octet != b'\n'));
        assert_eq!(outcomes, ends + open, "seed {seed}, round {round}");
        read += outcomes as u64;
    }
    // Otherwise nothing was tested.
    assert!(
        sightings > read / 20 && rejected > read / 20,
        "{sightings} {rejected} of {read}"
    );
}

/// Lines of all fixtures.
fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut corpus = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension != "expected")
        {
            let log = fs::read(path).unwrap();
            corpus.extend(lines(&log).map(<[u8]>::to_vec));
        }
    }
    corpus
}

/// Some lines of the corpus with octets changed, cut out, doubled and put together anew.
fn damaged(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    const TELLING: &[u8] = b"\"',|;:{}[]=\\ \t\r\n\0\x80\xff#%./-+0919TZ";
    let mut log = Vec::new();
    for _ in 0..PER_LOG {
        let mut line = corpus[random.random_range(0..corpus.len())].clone();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..=line.len());
            match random.random_range(0..6) {
                0 => line.insert(at, TELLING[random.random_range(0..TELLING.len())]),
                1 if at < line.len() => line[at] = random.random(),
                2 if at < line.len() => line[at] = TELLING[random.random_range(0..TELLING.len())],
                3 => line.truncate(at),
                4 => {
                    let end = random.random_range(at..=line.len());
                    line.drain(at..end);
                }
                _ => {
                    let other = &corpus[random.random_range(0..corpus.len())];
                    let from = random.random_range(0..=other.len());
                    let piece = other[from..].to_vec();
                    line.splice(at..at, piece);
                }
            }
        }
        log.extend_from_slice(&line);
        log.push(b'\n');
    }
    if random.random() {
        log.pop();
    }
    log
}
