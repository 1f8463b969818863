//! Whether bandwidth deltas sum to the agent's own counters: pure explanation of the places where
//! they do not.

use time::OffsetDateTime;

use super::ranges::{Range, Ranges};

/// The four running totals of a frame, or what lies between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Socket buffers received.
    pub ingress_packets: i64,
    /// Their octets.
    pub ingress_bytes: i64,
    /// Socket buffers sent.
    pub egress_packets: i64,
    /// Their octets.
    pub egress_bytes: i64,
}

/// A frame's place among all frames of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The run.
    pub epoch: i64,
    /// The batch.
    pub sequence: i64,
}

/// Two frames that follow each other and do not fit together.
#[derive(Clone, Debug)]
pub struct Break {
    /// The interface's name.
    pub interface: String,
    /// Whose totals; 0 from agents that do not say.
    pub attachment: i32,
    /// The last frame before, of this attachment or an earlier one.
    pub before: Option<(Place, OffsetDateTime)>,
    /// The frame that does not fit.
    pub place: Place,
    /// When its first sample began.
    pub started_at: OffsetDateTime,
    /// When its last sample ended.
    pub ended_at: OffsetDateTime,
    /// Whether one of its samples says that a counter went back.
    pub went_back: bool,
    /// Its totals less its deltas.
    pub base: Totals,
    /// The totals of the frame before; 0 at the start of an attachment.
    pub expected: Totals,
}

/// A time in which an agent measured nothing, as it says.
#[derive(Clone, Debug)]
pub struct Gap {
    /// When it began.
    pub from_at: OffsetDateTime,
    /// When it ended.
    pub to_at: OffsetDateTime,
}

/// What can explain a break: the batches with frames that are not here, and the gaps.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Batches that may hold frames, by run.
    pub missing: Vec<(i64, Missing)>,
    /// All gaps of the agent.
    pub gaps: Vec<Gap>,
}

/// Batches of one stream that are not here, by cause.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// Gone without a word.
    pub lost: Ranges,
    /// Still with the agent.
    pub outstanding: Ranges,
    /// Refused.
    pub refused: Ranges,
    /// Given up.
    pub omitted: Ranges,
}

/// Why two frames do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Packets are in the database twice, or a row was changed: never explained.
    Doubled,
    /// Packets are missing and nothing says why.
    Unexplained,
    /// Packets are missing with batches that are lost.
    Lost,
    /// Their batches are still with the agent.
    Outstanding,
    /// Their batches were refused.
    Refused,
    /// Their batches were given up.
    Omitted,
    /// Nothing was measured for a while.
    SensorGap,
    /// The frame itself says that a counter went back.
    CounterWentBack,
    /// The counters of an agent that names no attachment began at 0 again.
    Restarted,
}

impl Totals {
    /// What has to be added to `other`; negative where `other` is larger.
    fn less(self, other: Self) -> Self {
        Self {
            ingress_packets: self.ingress_packets.saturating_sub(other.ingress_packets),
            ingress_bytes: self.ingress_bytes.saturating_sub(other.ingress_bytes),
            egress_packets: self.egress_packets.saturating_sub(other.egress_packets),
            egress_bytes: self.egress_bytes.saturating_sub(other.egress_bytes),
        }
    }

    fn values(self) -> [i64; 4] {
        [
            self.ingress_packets,
            self.ingress_bytes,
            self.egress_packets,
            self.egress_bytes,
        ]
    }
}

impl Cause {
    /// As it stands in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Doubled => "doubled",
            Self::Unexplained => "unexplained",
            Self::Lost => "lost",
            Self::Outstanding => "outstanding",
            Self::Refused => "refused",
            Self::Omitted => "omitted",
            Self::SensorGap => "sensor_gap",
            Self::CounterWentBack => "counter_went_back",
            Self::Restarted => "restarted",
        }
    }

    /// Whether the books do not balance.
    pub fn is_violation(self) -> bool {
        matches!(self, Self::Doubled | Self::Unexplained | Self::Lost)
    }
}

impl Break {
    /// What is missing between the two frames; negative numbers are there twice.
    pub fn missing(&self) -> Totals {
        self.base.less(self.expected)
    }

    /// Why the frames do not fit.
    pub fn cause(&self, evidence: &Evidence) -> Cause {
        if self.went_back {
            return Cause::CounterWentBack;
        }
        if self.attachment == 0 && self.base == Totals::default() {
            return Cause::Restarted;
        }
        if self.missing().values().iter().any(|amount| *amount < 0) {
            return Cause::Doubled;
        }
        type Part = fn(&Missing) -> &Ranges;
        let causes: [(Cause, Part); 4] = [
            (Cause::Lost, |m| &m.lost),
            (Cause::Outstanding, |m| &m.outstanding),
            (Cause::Refused, |m| &m.refused),
            (Cause::Omitted, |m| &m.omitted),
        ];
        for (cause, part) in causes {
            let within = |(epoch, missing): &(i64, Missing)| {
                self.between(*epoch)
                    .is_some_and(|bounds| part(missing).within(bounds).count() > 0)
            };
            if evidence.missing.iter().any(within) {
                return cause;
            }
        }
        if evidence.gaps.iter().any(|gap| self.spans(gap)) {
            return Cause::SensorGap;
        }
        Cause::Unexplained
    }

    /// The numbers of a run's batches that lie between the two frames.
    fn between(&self, epoch: i64) -> Option<Range> {
        let first = match self.before {
            Some((before, _)) if epoch < before.epoch => return None,
            Some((before, _)) if epoch == before.epoch => before.sequence.saturating_add(1),
            _ => 1,
        };
        let last = match epoch {
            epoch if epoch > self.place.epoch => return None,
            epoch if epoch == self.place.epoch => self.place.sequence.saturating_sub(1),
            _ => i64::MAX,
        };
        Range::new(first, last)
    }

    /// Whether the gap lies between the two frames. By its times: the run that noticed it may have
    /// handed it over long after.
    fn spans(&self, gap: &Gap) -> bool {
        let from = self.before.map_or(gap.from_at, |(_, ended_at)| ended_at);
        gap.from_at < self.ended_at && gap.to_at > from
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const T: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn at(seconds: i64) -> OffsetDateTime {
        T + time::Duration::seconds(seconds)
    }

    fn place(epoch: i64, sequence: i64) -> Place {
        Place { epoch, sequence }
    }

    /// Ten packets fail between batch 3 and batch 6.
    fn jump() -> Break {
        Break {
            interface: "eth0".to_owned(),
            attachment: 7,
            before: Some((place(2, 3), at(30))),
            place: place(2, 6),
            started_at: at(60),
            ended_at: at(75),
            went_back: false,
            base: Totals {
                ingress_packets: 20,
                ..Totals::default()
            },
            expected: Totals {
                ingress_packets: 10,
                ..Totals::default()
            },
        }
    }

    fn range(first: i64, last: i64) -> Ranges {
        Ranges::from_iter([Range { first, last }])
    }

    fn missing(epoch: i64, missing: Missing) -> Evidence {
        Evidence {
            missing: vec![(epoch, missing)],
            gaps: Vec::new(),
        }
    }

    fn gap(from: i64, to: i64) -> Evidence {
        let gap = Gap {
            from_at: at(from),
            to_at: at(to),
        };
        Evidence {
            gaps: vec![gap],
            ..Evidence::default()
        }
    }

    fn omitted(epoch: i64, first: i64, last: i64) -> Evidence {
        let omitted = range(first, last);
        missing(
            epoch,
            Missing {
                omitted,
                ..Missing::default()
            },
        )
    }

    #[test]
    fn a_jump_forward_is_explained_only_by_what_lies_between_the_frames() {
        let of = |make: fn(Ranges) -> Missing| missing(2, make(range(4, 5)));
        let none = Missing::default;
        let cases = [
            ("nothing", Evidence::default(), Cause::Unexplained),
            ("omitted", omitted(2, 4, 5), Cause::Omitted),
            ("omitted in part", omitted(2, 5, 9), Cause::Omitted),
            ("omitted before", omitted(2, 1, 3), Cause::Unexplained),
            ("omitted after", omitted(2, 6, 9), Cause::Unexplained),
            ("another run", omitted(1, 4, 5), Cause::Unexplained),
            (
                "refused",
                of(|r| Missing {
                    refused: r,
                    ..Missing::default()
                }),
                Cause::Refused,
            ),
            (
                "outstanding",
                of(|r| Missing {
                    outstanding: r,
                    ..Missing::default()
                }),
                Cause::Outstanding,
            ),
            (
                "lost",
                of(|r| Missing {
                    lost: r,
                    ..Missing::default()
                }),
                Cause::Lost,
            ),
            (
                "lost weighs more than omitted",
                missing(
                    2,
                    Missing {
                        lost: range(4, 4),
                        omitted: range(5, 5),
                        ..none()
                    },
                ),
                Cause::Lost,
            ),
            ("gap between", gap(35, 55), Cause::SensorGap),
            ("gap before", gap(0, 30), Cause::Unexplained),
            ("gap after", gap(75, 80), Cause::Unexplained),
        ];
        for (name, evidence, cause) in cases {
            assert_eq!(jump().cause(&evidence), cause, "{name}");
        }
    }

    #[test]
    fn a_pinned_attachment_is_followed_over_runs() {
        let over_runs = Break {
            before: Some((place(1, 9), at(30))),
            place: place(3, 2),
            ..jump()
        };
        for (evidence, cause) in [
            (omitted(1, 10, 10), Cause::Omitted),
            (omitted(2, 1, 1), Cause::Omitted),
            (omitted(3, 1, 1), Cause::Omitted),
            (omitted(1, 9, 9), Cause::Unexplained),
            (omitted(3, 2, 2), Cause::Unexplained),
        ] {
            assert_eq!(over_runs.cause(&evidence), cause, "{evidence:?}");
        }
    }

    #[test]
    fn a_jump_back_is_a_doubling_whatever_is_missing() {
        let mut back = jump();
        back.base.ingress_packets = 9;
        assert_eq!(back.cause(&omitted(2, 4, 5)), Cause::Doubled);
        assert_eq!(back.missing().ingress_packets, -1);
        back.went_back = true;
        assert_eq!(back.cause(&Evidence::default()), Cause::CounterWentBack);
    }

    #[test]
    fn counters_without_a_name_may_begin_again_at_zero_and_only_there() {
        let restart = Break {
            attachment: 0,
            base: Totals::default(),
            ..jump()
        };
        assert_eq!(restart.cause(&Evidence::default()), Cause::Restarted);
        let named = Break {
            attachment: 7,
            ..restart.clone()
        };
        assert_eq!(named.cause(&Evidence::default()), Cause::Doubled);
    }
}
