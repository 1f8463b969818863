//! Questions of modes 6 and 7, and all packets of their answers.

use std::{net::SocketAddr, time::Duration};

use netmon_common::wire::{NtpControl, NtpVantage};

use super::{Packet, Question, Scope, Subject, Vantage, message::octets, recent::Recent};

/// Most questions under way.
const MAX_DIALOGUES: usize = 4096;

/// What ties answers to their question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    scope: Scope,
    client: SocketAddr,
    server: SocketAddr,
    subject: Subject,
}

/// A question with its answer so far, or an answer that nobody asked for.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// Where it was seen.
    pub scope: Scope,
    /// Who asked.
    pub client: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// What was asked.
    pub subject: Subject,
    /// The first packet of the question.
    pub request: Option<Packet<Question>>,
    /// The first packet of the answer.
    pub response: Option<Packet<Question>>,
    /// Packets of the question: more than one if it was repeated.
    pub request_packets: u64,
    /// UDP payload of these, octets.
    pub request_octets: u64,
    /// Packets of the answer.
    pub response_packets: u64,
    /// UDP payload of these, octets.
    pub response_octets: u64,
    /// Why the server refused.
    pub error: Option<u8>,
    /// Whether every packet of the answer was seen.
    pub is_complete: bool,
    /// Where on the path the sensor is; said by who hands it over.
    pub vantage: Option<Vantage>,
    ended_at_unix_ns: i64,
    status: u16,
    items: u64,
    /// Extent of the answer, once its last packet was seen, and how much of it was seen.
    end: Option<u64>,
    seen: u64,
}

/// How a dialogue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// With a refusal.
    Error,
    /// Without an answer.
    Unanswered,
    /// It is an answer without a question.
    Unasked,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Error, Self::Unanswered, Self::Unasked];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Error => "error",
            Self::Unanswered => "unanswered",
            Self::Unasked => "unasked",
        }
    }
}

/// Pairs questions and answers.
#[derive(Debug)]
pub struct Dialogues {
    open: Recent<Key, Dialogue>,
    timeout_ns: u64,
}

impl Dialogues {
    /// A question waits for `timeout`, and so does each packet of its answer for the next.
    pub fn new(timeout: Duration) -> Self {
        Self {
            open: Recent::new(MAX_DIALOGUES),
            timeout_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// How many ended early for others.
    pub fn evictions(&self) -> u64 {
        self.open.evictions()
    }

    /// Takes a packet; hands over what has ended.
    pub fn observe(&mut self, packet: Packet<Question>, emit: &mut impl FnMut(Dialogue)) {
        let question = packet.content;
        let (client, server) = if question.is_answer {
            (packet.destination, packet.source)
        } else {
            (packet.source, packet.destination)
        };
        let key = Key {
            scope: packet.scope,
            client,
            server,
            subject: question.subject,
        };
        // Mode 7 has no number: the same code after an answer asks anew.
        let is_anew = !question.is_answer
            && self
                .open
                .peek(&key)
                .is_some_and(|open| open.response_packets > 0);
        if is_anew && let Some(ended) = self.open.remove(&key) {
            emit(ended);
        }
        let at_ns = packet.captured_at_ns;
        let (open, evicted) = self.open.entry(key, at_ns, || Dialogue::new(key));
        open.add(packet);
        let is_over = open.is_complete;
        if let Some((_, evicted)) = evicted {
            emit(evicted);
        }
        if is_over && let Some(ended) = self.open.remove(&key) {
            emit(ended);
        }
    }

    /// Ends what has waited for too long.
    pub fn expire(&mut self, now_ns: u64, emit: &mut impl FnMut(Dialogue)) {
        let silent_since_ns = now_ns.saturating_sub(self.timeout_ns);
        while let Some((_, ended)) = self.open.pop_unused_since(silent_since_ns) {
            emit(ended);
        }
    }

    /// Ends those between a client and a server at a place of which no more is to be seen.
    pub fn withdraw(
        &mut self,
        stays: impl Fn(Scope, SocketAddr, SocketAddr) -> bool,
        emit: &mut impl FnMut(Dialogue),
    ) {
        let goes = |key: &&Key| !stays(key.scope, key.client, key.server);
        for key in self.open.keys().filter(goes).copied().collect::<Vec<_>>() {
            if let Some(ended) = self.open.remove(&key) {
                emit(ended);
            }
        }
    }

    /// Ends all.
    pub fn stop(&mut self, emit: &mut impl FnMut(Dialogue)) {
        while let Some((_, ended)) = self.open.pop_unused_since(u64::MAX) {
            emit(ended);
        }
    }
}

impl Dialogue {
    fn new(key: Key) -> Self {
        Self {
            scope: key.scope,
            client: key.client,
            server: key.server,
            subject: key.subject,
            request: None,
            response: None,
            request_packets: 0,
            request_octets: 0,
            response_packets: 0,
            response_octets: 0,
            error: None,
            is_complete: false,
            vantage: None,
            ended_at_unix_ns: 0,
            status: 0,
            items: 0,
            end: None,
            seen: 0,
        }
    }

    fn add(&mut self, packet: Packet<Question>) {
        let question = packet.content;
        let octets = u64::from(packet.length);
        if !question.is_answer {
            self.request_packets += 1;
            self.request_octets += octets;
            self.request.get_or_insert(packet);
            return;
        }
        self.response_packets += 1;
        self.response_octets += octets;
        self.response.get_or_insert(packet);
        self.ended_at_unix_ns = packet.captured_at_unix_ns;
        self.items += u64::from(question.items);
        self.status = question.status;
        self.error = self.error.or(question.error);
        self.seen += u64::from(question.extent);
        if !question.more {
            self.end = Some(u64::from(question.at) + u64::from(question.extent));
        }
        self.is_complete = self.request.is_some() && self.end.is_some_and(|end| self.seen >= end);
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match (self.request_packets, self.response_packets) {
            (0, _) => Outcome::Unasked,
            (_, 0) => Outcome::Unanswered,
            _ if self.error.is_some() => Outcome::Error,
            _ => Outcome::Answered,
        }
    }

    /// From the question to the first packet of the answer; absent if that was seen before it.
    pub fn response_time_ns(&self) -> Option<i64> {
        let (request, response) = (self.request?, self.response?);
        let elapsed_ns = response
            .captured_at_ns
            .checked_sub(request.captured_at_ns)?;
        i64::try_from(elapsed_ns).ok()
    }

    /// The dialogue as the server stores it. `interface` is the name of its scope's index.
    pub fn message(&self, interface: &str) -> NtpControl {
        let any = self.request.or(self.response).map(|packet| packet.content);
        let is_authenticated = [self.request, self.response]
            .iter()
            .flatten()
            .any(|packet| packet.content.is_authenticated);
        let at = |packet: Option<Packet<Question>>| packet.map_or(0, |p| p.captured_at_unix_ns);
        NtpControl {
            interface: interface.to_owned(),
            ifindex: self.scope.ifindex,
            vlan: self.scope.vlans[0].into(),
            inner_vlan: self.scope.vlans[1].into(),
            client: octets(self.client.ip()),
            client_port: self.client.port().into(),
            server: octets(self.server.ip()),
            server_port: self.server.port().into(),
            mode: self.subject.mode().into(),
            version: any.map_or(0, |question| question.version.into()),
            opcode: self.subject.opcode().into(),
            sequence: self.subject.sequence().into(),
            subject: any.map_or(0, |question| question.about.into()),
            requested_at_unix_ns: at(self.request),
            answered_at_unix_ns: at(self.response),
            ended_at_unix_ns: self.ended_at_unix_ns,
            request_packets: self.request_packets,
            request_octets: self.request_octets,
            response_packets: self.response_packets,
            response_octets: self.response_octets,
            error: self.error.map(u32::from),
            status: self.status.into(),
            items: self.items,
            complete: self.is_complete,
            authenticated: is_authenticated,
            response_time_ns: self.response_time_ns(),
            vantage: self
                .vantage
                .map_or(NtpVantage::Unspecified, NtpVantage::from)
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::{Control, Mode, Private};

    use super::*;
    use crate::ntp::packet::example::{self, S};

    fn packet(at_s: u64, length: u16, question: Question) -> Packet<Question> {
        let mode = if question.is_answer {
            Mode::Server
        } else {
            Mode::Client
        };
        let mut packet = example::packet(mode, at_s * S);
        packet.length = length;
        packet.with(question)
    }

    fn control(at_s: u64, sequence: u16, answer: Option<(u16, u16, bool)>) -> Packet<Question> {
        let (offset, count, more) = answer.unwrap_or_default();
        let control = Control {
            version: 2,
            response: answer.is_some(),
            error: false,
            more,
            opcode: 2,
            sequence,
            status: 0,
            association: 0,
            offset,
            count,
        };
        let length = 12 + count;
        packet(at_s, length, Question::control(&control, length.into()))
    }

    fn private(at_s: u64, answer: Option<(u8, bool)>) -> Packet<Question> {
        let (sequence, more) = answer.unwrap_or_default();
        let private = Private {
            version: 2,
            response: answer.is_some(),
            more,
            authenticated: false,
            sequence,
            implementation: 3,
            request: 42,
            error: 0,
            items: 6,
            item_size: 72,
        };
        packet(
            at_s,
            if answer.is_some() { 440 } else { 8 },
            Question::private(&private),
        )
    }

    fn ended(packets: impl IntoIterator<Item = Packet<Question>>) -> Vec<Dialogue> {
        let mut dialogues = Dialogues::new(Duration::from_secs(5));
        let mut ended = Vec::new();
        for packet in packets {
            let now_ns = packet.captured_at_ns;
            dialogues.expire(now_ns, &mut |dialogue| ended.push(dialogue));
            dialogues.observe(packet, &mut |dialogue| ended.push(dialogue));
        }
        dialogues.stop(&mut |dialogue| ended.push(dialogue));
        assert_eq!(dialogues.len(), 0);
        ended
    }

    #[test]
    fn an_answer_is_complete_with_all_its_fragments_in_any_order() {
        let first = Some((0, 468, true));
        let last = Some((468, 100, false));
        for order in [[first, last], [last, first]] {
            let ended = ended([
                control(0, 1, None),
                control(1, 1, order[0]),
                control(1, 1, order[1]),
            ]);
            assert_eq!(ended.len(), 1);
            let message = ended[0].message("eth0");
            assert!(message.complete);
            assert_eq!((message.request_packets, message.request_octets), (1, 12));
            assert_eq!(
                (message.response_packets, message.response_octets),
                (2, 592)
            );
            assert_eq!(message.response_time_ns, Some(S as i64));
        }
    }

    #[test]
    fn an_answer_that_was_seen_before_its_question_has_no_response_time() {
        let ended = ended([control(1, 1, None), control(0, 1, Some((0, 8, false)))]);
        assert_eq!(ended[0].outcome(), Outcome::Answered);
        assert_eq!(ended[0].message("eth0").response_time_ns, None);
    }

    #[test]
    fn sequence_numbers_tell_questions_apart() {
        let answer = Some((0, 8, false));
        let ended = ended([
            control(0, 1, None),
            control(0, 2, None),
            control(1, 2, answer),
            control(9, 1, answer),
        ]);
        let outcomes: Vec<_> = ended.iter().map(Dialogue::outcome).collect();
        let expected = [Outcome::Answered, Outcome::Unanswered, Outcome::Unasked];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn a_list_of_clients_is_one_answer_of_many_packets() {
        let answer = (0..100).map(|n| private(1, Some((n, n < 99))));
        let question = [private(0, None), private(0, None)];
        let ended = ended(question.into_iter().chain(answer).chain([private(2, None)]));
        assert_eq!(ended.len(), 2);
        assert!(ended[0].is_complete);
        assert_eq!(
            (ended[0].request_packets, ended[0].response_packets),
            (2, 100)
        );
        assert_eq!(ended[0].response_octets, 44_000);
        assert_eq!(ended[0].message("").items, 600);
        assert_eq!(ended[1].outcome(), Outcome::Unanswered);
    }

    #[test]
    fn what_is_not_to_be_seen_any_more_ends_at_once_and_the_rest_goes_on() {
        let mut dialogues = Dialogues::new(Duration::from_secs(5));
        let mut elsewhere = control(0, 2, None);
        elsewhere.scope.ifindex = 9;
        for packet in [control(0, 1, None), elsewhere] {
            dialogues.observe(packet, &mut |_| panic!("it waits"));
        }
        let mut ended = Vec::new();
        let stays = |scope: Scope, _: SocketAddr, _: SocketAddr| scope.ifindex != 9;
        dialogues.withdraw(stays, &mut |dialogue| ended.push(dialogue));
        assert_eq!((ended.len(), dialogues.len()), (1, 1));
        assert_eq!(ended[0].scope.ifindex, 9);
    }

    #[test]
    fn answers_nobody_asked_for_do_not_grow_the_table() {
        let flood = (0..2 * MAX_DIALOGUES as u32).map(|number| {
            let mut packet = private(0, Some((0, false)));
            packet.source.set_ip(number.to_be_bytes().into());
            packet
        });
        let mut dialogues = Dialogues::new(Duration::from_secs(5));
        let mut unasked = 0;
        for packet in flood {
            dialogues.observe(packet, &mut |dialogue| {
                unasked += u32::from(dialogue.outcome() == Outcome::Unasked);
            });
            assert!(dialogues.len() <= MAX_DIALOGUES);
        }
        assert_eq!(unasked, MAX_DIALOGUES as u32);
        assert_eq!(dialogues.evictions(), MAX_DIALOGUES as u64);
    }
}
