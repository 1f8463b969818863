//! Which of the last eight requests were answered in time (RFC 5905 section 9.2).

/// A shift register, and when the requests of its bits were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    bits: u8,
    asked_at_ns: [u64; 8],
}

impl Reach {
    /// One more request, not answered so far.
    pub(super) fn asked(&mut self, at_ns: u64) {
        self.bits <<= 1;
        self.asked_at_ns.rotate_right(1);
        self.asked_at_ns[0] = at_ns;
    }

    /// The request of that moment was answered.
    pub(super) fn answered(&mut self, asked_at_ns: u64) {
        let place = self
            .asked_at_ns
            .iter()
            .position(|at_ns| *at_ns == asked_at_ns);
        if let Some(place) = place {
            self.bits |= 1 << place;
        }
    }

    /// The newest request is bit 0.
    pub(super) fn bits(&self) -> u8 {
        self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_sets_the_bit_of_its_request() {
        let mut reach = Reach::default();
        for at_ns in 1..=9 {
            reach.asked(at_ns);
        }
        reach.answered(9);
        reach.answered(7);
        reach.answered(1);
        assert_eq!(reach.bits(), 0b101, "the first is too long ago");
        reach.asked(10);
        assert_eq!(reach.bits(), 0b1010);
    }
}
