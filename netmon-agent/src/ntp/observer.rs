//! All NTP that a sensor sees: packets in, findings out.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use netmon_common::wire;

use super::{
    Content, Dialogue, Exchange, Match, Measurement, Packet, Pairing, Place, Role, Scope,
    Surroundings, Tally, Tap, Time,
    association::{Associations, ClientView},
    dialogue::Dialogues,
    measure, pairing,
    peers::Peers,
};

/// Bounds of what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request waits, where nothing else is said.
    pub timeout: Duration,
    /// Most requests remembered at a time.
    pub max_pending: usize,
    /// Most pairs of client and server with running figures.
    pub max_associations: usize,
}

/// What comes out.
#[derive(Clone, Debug)]
pub enum Found {
    /// Of modes 0 to 5.
    Exchange(Box<Finding>),
    /// Of modes 6 and 7.
    Dialogue(Box<Dialogue>),
}

/// An exchange and what it says.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The packets and how they belong together.
    pub exchange: Exchange,
    /// What they say about time.
    pub measured: Measurement,
    /// The running figures of client and server, this exchange included.
    pub association: Option<wire::NtpAssociation>,
    /// What the request discloses of an exchange before.
    pub client_view: Option<ClientView>,
}

/// How full the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that are remembered, answered ones included.
    pub requests: usize,
    /// Responses that wait for a request which may have been overtaken.
    pub held: usize,
    /// Name, entries and evictions of the other tables.
    pub tables: [(&'static str, usize, u64); 3],
}

/// Remembers what later packets may refer to.
#[derive(Debug)]
pub struct Observer {
    pairing: Pairing,
    associations: Associations,
    peers: Peers,
    dialogues: Dialogues,
    place: Place,
    synchronised: bool,
}

impl Load {
    /// Names of the tables that forget what was silent for longest.
    pub const TABLES: [&'static str; 3] = ["associations", "peers", "dialogues"];
}

impl Observer {
    /// Nothing remembered yet; requests from before `now_ns` were not seen.
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        let pairing = pairing::Limits {
            timeout: limits.timeout,
            max_pending: limits.max_pending,
        };
        Self {
            pairing: Pairing::new(pairing, now_ns),
            associations: Associations::new(limits.max_associations),
            peers: Peers::default(),
            dialogues: Dialogues::new(limits.timeout),
            place: Place::default(),
            synchronised: false,
        }
    }

    /// Says where the sensor is.
    pub fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// Says whether the sensor's wall clock can be trusted.
    pub fn set_synchronised(&mut self, synchronised: bool) {
        self.synchronised = synchronised;
    }

    /// Says where requests wait for another time than elsewhere, from now on.
    pub fn set_timeouts(&mut self, timeouts: HashMap<Tap, Duration>) {
        self.pairing.set_timeouts(timeouts);
    }

    /// From now on more is looked at on an interface than before.
    pub fn begin(&mut self, tap: Tap, now_ns: u64) {
        self.pairing.begin(tap, now_ns);
    }

    /// Ends what is under way between a client and a server at a place where no more is to be seen
    /// of it; nothing of it comes later.
    pub fn withdraw(
        &mut self,
        stays: impl Fn(Scope, SocketAddr, SocketAddr) -> bool,
        emit: &mut impl FnMut(Found),
    ) {
        let mut found = Vec::new();
        self.pairing
            .withdraw(&stays, &mut |exchange| found.push(exchange));
        self.hand_over(found, emit);
        let mut end = |dialogue| emit(ended(dialogue, &self.place));
        self.dialogues.withdraw(&stays, &mut end);
    }

    /// What did not become an exchange so far.
    pub fn tally(&self) -> Tally {
        self.pairing.tally()
    }

    /// How full the tables are.
    pub fn load(&self) -> Load {
        let Self {
            pairing,
            associations,
            peers,
            dialogues,
            ..
        } = self;
        let [of_associations, of_peers, of_dialogues] = Load::TABLES;
        Load {
            requests: pairing.remembered(),
            held: pairing.held(),
            tables: [
                (
                    of_associations,
                    associations.len(),
                    associations.evictions(),
                ),
                (of_peers, peers.len(), peers.evictions()),
                (of_dialogues, dialogues.len(), dialogues.evictions()),
            ],
        }
    }

    /// Takes a packet; hands over what was due before it, and what it completes.
    pub fn observe(&mut self, packet: Packet, emit: &mut impl FnMut(Found)) {
        self.expire(packet.captured_at_ns, emit);
        let mut found = Vec::new();
        let mut push = |exchange| found.push(exchange);
        match packet.content {
            Content::Time(time) => {
                let packet = packet.with(time);
                match time.role {
                    Role::Request => self.request(packet, &mut push),
                    Role::Response => self.pairing.response(packet, &mut push),
                    Role::Peer => push(self.peers.observe(packet)),
                    Role::Broadcast => push(Exchange::of_response(Match::Broadcast, packet)),
                }
            }
            Content::Refusal(refusal) => self.pairing.refusal(packet.with(refusal), &mut push),
            Content::Question(question) => {
                let mut end = |dialogue| emit(ended(dialogue, &self.place));
                self.dialogues.observe(packet.with(question), &mut end);
            }
        }
        self.hand_over(found, emit);
    }

    fn request(&mut self, packet: Packet<Time>, push: &mut impl FnMut(Exchange)) {
        if self.pairing.is_copy(&packet) {
            push(Exchange::of_request(Match::DuplicateRequest, packet));
            return;
        }
        let pairing = &self.pairing;
        let asked = self.associations.ask(&packet, |id| pairing.waits(id));
        if let Some(given_up) = asked.given_up {
            self.pairing.supersede(given_up);
        }
        let id = self.pairing.request(packet, asked.is_retry, push);
        if let (Some(id), Some(association)) = (id, self.associations.of_mut(&packet)) {
            association.remembered(id);
        }
    }

    /// Hands over what is due by `now_ns`. Call it after the packets captured before.
    pub fn expire(&mut self, now_ns: u64, emit: &mut impl FnMut(Found)) {
        let mut found = Vec::new();
        self.pairing
            .expire(now_ns, &mut |exchange| found.push(exchange));
        self.hand_over(found, emit);
        let mut end = |dialogue| emit(ended(dialogue, &self.place));
        self.dialogues.expire(now_ns, &mut end);
    }

    /// Nothing will come any more: hands over the rest.
    pub fn stop(&mut self, emit: &mut impl FnMut(Found)) {
        let mut found = Vec::new();
        self.pairing.stop(&mut |exchange| found.push(exchange));
        self.hand_over(found, emit);
        let mut end = |dialogue| emit(ended(dialogue, &self.place));
        self.dialogues.stop(&mut end);
    }

    fn hand_over(&mut self, found: Vec<Exchange>, emit: &mut impl FnMut(Found)) {
        for exchange in found {
            emit(Found::Exchange(Box::new(self.finding(exchange))));
        }
    }

    fn finding(&mut self, exchange: Exchange) -> Finding {
        let is_of_peers = exchange.kind == Match::Symmetric;
        let request = exchange.request.filter(|_| !is_of_peers);
        let association = request.and_then(|request| self.associations.of(&request));
        let around = Surroundings {
            synchronised: self.synchronised,
            place: &self.place,
            association,
        };
        let measured = measure(&exchange, around);
        let association = request
            .filter(|_| !exchange.kind.is_extra())
            .zip(request.and_then(|request| self.associations.of_mut(&request)));
        let mut client_view = None;
        let association = association.map(|(request, association)| {
            client_view = association.take_view(&request);
            match (exchange.kind, &exchange.response) {
                (
                    Match::Basic | Match::Interleaved | Match::Weak | Match::Superseded,
                    Some(response),
                ) => {
                    association.measured(&measured);
                    association.answered(&request, response);
                }
                (Match::Unanswered | Match::Refused, _) => association.lost(),
                _ => {}
            }
            association.message()
        });
        Finding {
            exchange,
            measured,
            association,
            client_view,
        }
    }
}

fn ended(mut dialogue: Dialogue, place: &Place) -> Found {
    dialogue.vantage = place.of_ends(dialogue.client.ip(), dialogue.server.ip());
    Found::Dialogue(Box::new(dialogue))
}
