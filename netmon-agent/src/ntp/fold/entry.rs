//! One fold: figures of all exchanges, and the newest of them whole.

use super::figures::Figures;
use crate::ntp::{Exchange, Finding};

/// Exchanges of one client and one server within a window.
#[derive(Debug)]
pub struct Folded {
    /// The newest.
    pub newest: Box<Finding>,
    /// The one with the newest response, if that is another one.
    pub newest_answered: Option<Box<Finding>>,
    /// What all come to.
    pub figures: Figures,
}

impl Folded {
    pub(super) fn new(finding: Box<Finding>) -> Self {
        let mut figures = Figures::default();
        figures.add(&finding);
        Self {
            newest: finding,
            newest_answered: None,
            figures,
        }
    }

    /// Counts another one.
    pub(super) fn add(&mut self, finding: Box<Finding>) {
        self.figures.add(&finding);
        let is_newest =
            first_packet_unix_ns(&finding.exchange) >= first_packet_unix_ns(&self.newest.exchange);
        let answered = answered_unix_ns(&finding);
        let answered_before = self
            .newest_answered
            .as_deref()
            .map_or_else(|| answered_unix_ns(&self.newest), answered_unix_ns);
        match (is_newest, answered.is_some() && answered >= answered_before) {
            (true, true) => {
                self.newest = finding;
                self.newest_answered = None;
            }
            (true, false) => {
                let before = std::mem::replace(&mut self.newest, finding);
                if self.newest_answered.is_none() && answered_before.is_some() {
                    self.newest_answered = Some(before);
                }
            }
            (false, true) => self.newest_answered = Some(finding),
            (false, false) => {}
        }
    }
}

/// When the first packet of an exchange was seen, by the wall clock.
pub(super) fn first_packet_unix_ns(exchange: &Exchange) -> i64 {
    let request = exchange.request.as_ref().map(|p| p.captured_at_unix_ns);
    let response = exchange.response.as_ref().map(|p| p.captured_at_unix_ns);
    let times = [request, response].into_iter().flatten();
    times.min().unwrap_or(0)
}

fn answered_unix_ns(finding: &Finding) -> Option<i64> {
    let response = finding.exchange.response.as_ref();
    response.map(|packet| packet.captured_at_unix_ns)
}
