//! A log: any octets are lines, each with one outcome, the same ones however the octets arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon_feeds::{Cutter, Format, Line, Options, Parser, Special, lines};

fuzz_target!(|input: &[u8]| {
    // The first octets say how the log is read and in which pieces it comes.
    let [choice, piece, log @ ..] = input else {
        return;
    };
    let options = Options {
        format: Format::ALL[usize::from(choice & 0x7f) % Format::ALL.len()],
        special: match choice & 0x80 {
            0 => Special::Refuse,
            _ => Special::Accept,
        },
        family: vec!["mozi".to_owned()],
        ..Options::default()
    };
    let whole = outcomes(&options, &[log]);
    let pieces: Vec<_> = log.chunks(usize::from(*piece) + 1).collect();
    assert_eq!(outcomes(&options, &pieces), whole);
    let ends = log.iter().filter(|octet| **octet == b'\n').count();
    let open = log.last().is_some_and(|octet| *octet != b'\n');
    assert_eq!(whole.len(), ends + usize::from(open));
});

fn outcomes(options: &Options, pieces: &[&[u8]]) -> Vec<Line> {
    let mut parser = Parser::new(options.clone());
    let mut cutter = Cutter::new();
    let mut outcomes = Vec::new();
    let mut read = |raw: &[u8]| {
        for line in lines(raw) {
            let outcome = parser.line(line);
            if let Line::Sighting(sighting) = outcome {
                assert_eq!(sighting.address.to_canonical(), sighting.address);
                assert_ne!(sighting.port, Some(0));
                if let Some(at) = sighting.seen_at {
                    assert!(options.window.contains(&at));
                    assert_eq!(at.nanosecond() % 1_000, 0);
                }
            }
            outcomes.push(outcome);
        }
    };
    for piece in pieces {
        let mut rest = *piece;
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
    outcomes
}
