//! What must hold of every sequence: each packet is in one row of its own or counted, an answer is paired
//! once at most, every table keeps its bound, and no value is shown that cannot be.

use std::{collections::HashMap, time::Duration};

use netmon_agent::{
    clock::TaiOffset,
    ntp::{
        Content, Dedupe, Dialogue, Exchange, Finding, Found, Limits, Match, Observer, Packet, Role,
        Tap,
    },
};
use netmon_common::{event::NtpEvent, ntp::NtpPorts};

use super::sequence::{Sequence, Settings};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Responses held, peers and dialogues, as docs/ntp.md says.
const MOST_HELD: usize = 1_024;
const MOST_PEERS: usize = 1_024;
const MOST_DIALOGUES: usize = 4_096;
/// The second interface.
const SECOND: Tap = Tap {
    namespace: 0,
    ifindex: 2,
};
const DAY_NS: u64 = 86_400_000_000_000;
const MOST_PROCESSING_NS: i64 = 4_000_000_000;

/// What came out, over many sequences.
#[derive(Debug, Default)]
pub struct Sums {
    /// Packets that went in.
    pub packets: u64,
    /// Rows by kind, in the order of [`Match::ALL`].
    pub kinds: [u64; Match::ALL.len()],
    /// Questions of modes 6 and 7 with their answers.
    pub dialogues: u64,
    /// Packets that were another one at another interface.
    pub copies: u64,
    /// Packets that are not decoded.
    pub undecoded: u64,
    /// Packets without a row, counted by the pairing.
    pub not_remembered: u64,
}

/// What a packet is to the pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Request,
    Response,
    Peer,
    Broadcast,
    Refusal,
    Question,
}

/// One packet and the rows it is in.
#[derive(Debug)]
struct Entry {
    part: Part,
    /// Rows that are its own.
    rows: u32,
    /// Rows in which it has an answer.
    answers: u32,
}

#[derive(Debug, Default)]
struct Books {
    entries: HashMap<u64, Entry>,
    sums: Sums,
    /// Packets in dialogues.
    questions: u64,
}

/// Plays a sequence and checks all.
pub fn check(octets: &[u8]) -> Sums {
    let (settings, rest) = Settings::read(octets);
    let limits = Limits {
        timeout: TIMEOUT,
        max_pending: settings.max_pending,
        max_associations: settings.max_associations,
    };
    let mut sequence = Sequence::new(rest).peekable();
    let first_ns = sequence.peek().map_or(0, |event| event.captured_at_ns);
    let began_ns = if settings.has_just_started {
        first_ns
    } else {
        0
    };
    let mut observer = Observer::new(limits, began_ns);
    observer.set_synchronised(settings.synchronised);
    if settings.comes_and_goes {
        observer.set_timeouts([(SECOND, Duration::from_secs(1))].into());
    }
    let (mut dedupe, mut books) = (Dedupe::default(), Books::default());
    let mut latest_ns = 0;
    for event in sequence {
        let Some(packet) = books.decode(&event) else {
            continue;
        };
        latest_ns = event.captured_at_ns;
        let mut passed = Vec::new();
        if settings.comes_and_goes {
            books.come_and_go(&mut observer, event.captured_at_ns);
        }
        if settings.deduplicates {
            dedupe.observe(packet, &mut |packet| passed.push(packet));
        } else {
            passed.push(packet);
        }
        for packet in passed {
            books.observe(&mut observer, packet);
        }
        let load = observer.load();
        assert!(load.requests <= settings.max_pending, "{load:?}");
        assert!(load.held <= MOST_HELD, "{load:?}");
        let most = [settings.max_associations, MOST_PEERS, MOST_DIALOGUES];
        for ((name, entries, _), most) in load.tables.into_iter().zip(most) {
            assert!(entries <= most, "{name}: {entries}");
        }
    }
    let mut passed = Vec::new();
    dedupe.flush(&mut |packet| passed.push(packet));
    for packet in passed {
        books.observe(&mut observer, packet);
    }
    observer.expire(latest_ns, &mut |found| books.found(&found));
    observer.stop(&mut |found| books.found(&found));
    let load = observer.load();
    assert_eq!((load.requests, load.held), (0, 0), "nothing is left behind");
    books.sums.copies = dedupe.copies();
    books.close(&observer)
}

impl Books {
    fn decode(&mut self, event: &NtpEvent) -> Option<Packet> {
        self.sums.packets += 1;
        match Packet::decode(event, TaiOffset::NONE, &NtpPorts::default()) {
            Ok(mut packet) => {
                packet.frame = self.sums.packets;
                Some(packet)
            }
            Err(_) => {
                self.sums.undecoded += 1;
                None
            }
        }
    }

    /// Now and then nothing more is to be seen at the second interface, and some packets later it is.
    fn come_and_go(&mut self, observer: &mut Observer, now_ns: u64) {
        match self.sums.packets % 32 {
            20 => observer.withdraw(|scope, _, _| scope.tap() != SECOND, &mut |found| {
                self.found(&found)
            }),
            30 => observer.begin(SECOND, now_ns),
            _ => {}
        }
    }

    fn observe(&mut self, observer: &mut Observer, packet: Packet) {
        let part = match &packet.content {
            Content::Refusal(_) => Part::Refusal,
            Content::Question(_) => Part::Question,
            Content::Time(time) => match time.role {
                Role::Request => Part::Request,
                Role::Response => Part::Response,
                Role::Peer => Part::Peer,
                Role::Broadcast => Part::Broadcast,
            },
        };
        let entry = Entry {
            part,
            rows: 0,
            answers: 0,
        };
        assert!(self.entries.insert(packet.frame, entry).is_none());
        observer.observe(packet, &mut |found| self.found(&found));
    }

    fn found(&mut self, found: &Found) {
        match found {
            Found::Exchange(finding) => {
                self.exchange(&finding.exchange);
                values(finding);
            }
            Found::Dialogue(dialogue) => self.dialogue(dialogue),
        }
    }

    fn entry<C>(&mut self, packet: &Packet<C>) -> &mut Entry {
        self.entries.get_mut(&packet.frame).expect("it went in")
    }

    fn exchange(&mut self, exchange: &Exchange) {
        let kind = exchange.kind;
        let place = Match::ALL.iter().position(|other| *other == kind);
        self.sums.kinds[place.expect("it is one of all")] += 1;
        if let Some(response) = &exchange.response {
            self.entry(response).rows += 1;
        }
        if let Some(refusal) = &exchange.refusal {
            assert_eq!(kind, Match::Refused);
            self.entry(refusal).rows += 1;
        }
        let is_alone = exchange.response.is_none();
        let Some(request) = &exchange.request else {
            assert!(!is_alone && !kind.is_answered(), "{kind:?}");
            return;
        };
        let entry = self.entry(request);
        match kind {
            Match::Late => {
                assert_eq!(entry.rows, 1, "it was given up, and that is a row");
                entry.answers += 1;
            }
            Match::DuplicateResponse | Match::ConflictingResponse => {
                assert_eq!(entry.answers, 1, "there is a first answer");
            }
            Match::Symmetric => {}
            _ => {
                assert_eq!(is_alone, !kind.is_answered(), "{kind:?}");
                entry.rows += 1;
                entry.answers += u32::from(kind.is_answered());
            }
        }
        assert!(entry.answers <= 1, "an answer is paired once: {entry:?}");
    }

    fn dialogue(&mut self, dialogue: &Dialogue) {
        self.sums.dialogues += 1;
        self.questions += dialogue.request_packets + dialogue.response_packets;
        assert!(dialogue.response_time_ns().is_none_or(|ns| ns >= 0));
    }

    /// Every packet is in a row of its own, or counted.
    fn close(mut self, observer: &Observer) -> Sums {
        let mut missing: HashMap<&str, u64> = HashMap::new();
        let mut questions = 0;
        for (frame, entry) in &self.entries {
            assert!(entry.rows <= 1, "frame {frame}: {entry:?}");
            let name = match entry.part {
                Part::Question => {
                    questions += 1;
                    continue;
                }
                Part::Request => "requests",
                Part::Response => "responses",
                Part::Refusal => "refusals",
                Part::Peer | Part::Broadcast => "peers and broadcasts",
            };
            *missing.entry(name).or_default() += u64::from(entry.rows == 0);
        }
        assert_eq!(questions, self.questions, "packets of dialogues");
        let tally = observer.tally();
        let counted = [
            (
                "requests",
                tally.prefix_full + tally.path_full + tally.evicted,
            ),
            ("responses", tally.unpaired_responses),
            ("refusals", tally.unpaired_refusals),
            ("peers and broadcasts", 0),
        ];
        for (name, counted) in counted {
            let missing = missing.get(name).copied().unwrap_or(0);
            assert_eq!(missing, counted, "{name} without a row, and {tally:?}");
            self.sums.not_remembered += counted;
        }
        self.sums
    }
}

/// No value is there that means nothing.
fn values(finding: &Finding) {
    let (exchange, measured) = (&finding.exchange, &finding.measured);
    let kind = exchange.kind;
    let of_server = [
        measured.server_processing_ns,
        measured.network_delay_ns,
        measured.offset_ns,
        measured.client_offset_ns,
        measured.client_delay_ns,
        measured.client_to_server_ns,
    ];
    let header = exchange.response.map(|packet| packet.content.header);
    if header.is_some_and(|header| header.is_kiss_of_death()) {
        assert_eq!(of_server, [None; 6], "a kiss-o'-death has no time");
        assert_eq!(measured.server_to_sensor_ns, None);
    }
    let is_measured = matches!(kind, Match::Basic | Match::Interleaved | Match::Symmetric);
    assert!(is_measured || of_server == [None; 6], "{kind:?}");
    assert!(
        measured.response_time_ns.is_none_or(|ns| ns >= 0),
        "{kind:?}"
    );
    assert!(kind.is_answered() || measured.response_time_ns.is_none());
    let waited_ns = measured.response_time_ns.unwrap_or(0).unsigned_abs();
    assert!(
        kind == Match::Late || waited_ns < TIMEOUT.as_nanos() as u64,
        "{kind:?}: {waited_ns} ns"
    );
    if kind != Match::Symmetric {
        let processing_ns = measured.server_processing_ns;
        assert!(processing_ns.is_none_or(|ns| (0..=MOST_PROCESSING_NS).contains(&ns)));
    }
    assert_eq!(
        measured.offset_ns.is_some(),
        measured.offset_error_ns.is_some()
    );
    assert!(measured.offset_ns.is_some() || !measured.null_reason.is_empty());
    let clock_ns = measured.client_clock_ns.map_or(0, i64::unsigned_abs);
    assert!(clock_ns < DAY_NS, "a random number is not a time");
}
