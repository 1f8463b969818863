//! Logs as a tracker writes them: `time,ip,port`, in the order of time.

use std::net::Ipv4Addr;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use time::{Duration, OffsetDateTime};

/// Lines of one upload: two of the server's pieces.
pub const LINES: usize = 32_768;

/// The time that logs are about.
pub const SPAN: Duration = Duration::days(3);

/// Between an hour in which an address is seen and another one, seconds.
const OTHER: u32 = 31 * 3600;

/// Who is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Every address twice, at any times.
    Twice,
    /// Every address once.
    Once,
    /// Every address once more, in another hour.
    OtherHour,
    /// Every address once more, in the hour in which [`Mix::Once`] has it.
    SameHour,
}

/// The logs of a mix, each to be sent as one upload.
pub fn logs(mix: Mix, addresses: u32, now: OffsetDateTime) -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(mix as u64);
    let span = SPAN.whole_seconds() as u32;
    // Whole hours, so that what is in the same hour stays there.
    let start = now.unix_timestamp() / 3600 * 3600 - i64::from(span);
    let shifts: &[u32] = match mix {
        Mix::Twice => &[0, OTHER],
        Mix::Once | Mix::SameHour => &[0],
        Mix::OtherHour => &[OTHER],
    };
    let mut seen: Vec<(u32, u32)> = Vec::new();
    for shift in shifts {
        for number in 0..addresses {
            let hour = number.wrapping_mul(0x85eb_ca6b) % (span / 3600);
            let second = hour * 3600 + random.random_range(0..3600);
            seen.push(((second + shift) % span, number));
        }
    }
    // Whoever is seen in the same second is so in no order.
    seen.shuffle(&mut random);
    seen.sort_by_key(|(second, _)| *second);
    let texts = seen.chunks(LINES).map(|lines| {
        let mut text = Vec::with_capacity(lines.len() * 42);
        for (second, number) in lines {
            line(&mut text, start + i64::from(*second), *number);
        }
        text
    });
    texts.collect()
}

/// Any logs of so many addresses that are not those of [`logs`].
pub fn others(addresses: u32, now: OffsetDateTime) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..addresses {
        line(&mut text, now.unix_timestamp(), 2_900_000_000 - number);
    }
    text
}

fn line(text: &mut Vec<u8>, at: i64, number: u32) {
    let days = at.div_euclid(86_400);
    let second = at.rem_euclid(86_400);
    let date = OffsetDateTime::UNIX_EPOCH.date() + Duration::days(days);
    let (year, month, day) = date.to_calendar_date();
    let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60];
    let address = address(number);
    let port = [23, 80, 2323, 8080][(number % 4) as usize];
    text.extend_from_slice(
        format!(
            "{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z,{address},{port}\n",
            u8::from(month)
        )
        .as_bytes(),
    );
}

/// The public address of a number below three billion: another one for every number, in no order,
/// anywhere.
pub fn address(number: u32) -> Ipv4Addr {
    // A prime that divides neither 2^24 nor the number of networks.
    const STEP: u64 = 2_654_435_761;
    let scattered = u64::from(number) * STEP % ((NETWORKS.len() as u64) << 24);
    let network = NETWORKS[(scattered >> 24) as usize];
    Ipv4Addr::from((u32::from(network) << 24) | (scattered & 0xff_ffff) as u32)
}

/// The first octets of networks in which nothing is reserved.
const NETWORKS: [u8; 215] = networks();

const fn networks() -> [u8; 215] {
    let mut networks = [0; 215];
    let (mut count, mut first) = (0, 1);
    while first < 224 {
        if !matches!(first, 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203) {
            networks[count] = first;
            count += 1;
        }
        first += 1;
    }
    networks
}
