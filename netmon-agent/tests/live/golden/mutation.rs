//! Frames that nobody would send: golden ones, damaged. The same seed gives the same frames.

/// Octets that mean something somewhere in a header.
const TELLING: [u8; 20] = [
    0, 1, 4, 5, 6, 7, 8, 17, 41, 43, 44, 47, 51, 58, 60, 0x45, 0x4f, 0x60, 123, 0xff,
];
/// EtherTypes and PPP numbers.
const TELLING_PAIRS: [u16; 8] = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x8864, 0x0021, 123];
/// The headers: damage to payloads changes little.
const HEADERS: usize = 120;

/// xorshift64*: a few instructions, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// A frame from the list, damaged in one to four ways; at least 14 octets.
pub fn damaged(frames: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut frame = random.one_of(frames).clone();
    for _ in 0..=random.below(4) {
        damage(&mut frame, frames, random);
        if frame.len() < 14 {
            frame.resize(14, 0);
        }
    }
    frame
}

fn damage(frame: &mut Vec<u8>, frames: &[Vec<u8>], random: &mut Random) {
    let length = frame.len();
    let at = 12 + random.below(length.min(HEADERS) - 12);
    match random.below(10) {
        0 | 1 => frame[at] ^= 1 << random.below(8),
        2 => frame[at] = random.next() as u8,
        3 | 4 => frame[at] = *random.one_of(&TELLING),
        5 => {
            let pair = random.one_of(&TELLING_PAIRS).to_be_bytes();
            frame[at] = pair[0];
            if let Some(next) = frame.get_mut(at + 1) {
                *next = pair[1];
            }
        }
        6 => frame.truncate(14 + random.below(length - 13)),
        7 => drop(frame.drain(at..(at + 1 + random.below(16)).min(length))),
        8 => {
            // A piece once more: longer chains, more tags.
            let piece = frame[at..(at + 8 * (1 + random.below(3))).min(length)].to_vec();
            frame.splice(at..at, piece);
        }
        _ => {
            let other = random.one_of(frames);
            let from = at.min(other.len());
            frame.truncate(at);
            frame.extend(&other[from..]);
        }
    }
}
