//! Following without a terminal: a line per interface every few seconds.

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{
    api::{Direction, Live},
    follow::{Display, Picture},
    units::{bits_per_second, clock, scaled},
};

/// Time between two rounds of lines.
const PERIOD: Duration = Duration::from_secs(2);

/// Writes to standard output.
#[derive(Debug, Default)]
pub struct Plain {
    next: Duration,
    has_begun: bool,
}

impl Display for Plain {
    fn show(&mut self, picture: &Picture) -> Result<()> {
        let mut out = io::stdout().lock();
        if !self.has_begun {
            self.has_begun = true;
            for (name, address) in &picture.addresses {
                writeln!(out, "{name:<8} {address}")?;
            }
            match picture.remaining {
                Some(remaining) => {
                    let limit = clock(picture.elapsed + remaining);
                    writeln!(out, "ends by itself after {limit}")?;
                }
                None => writeln!(out, "Ctrl-C or `cargo xtask down` stops everything")?,
            }
        }
        if picture.elapsed < self.next {
            return Ok(());
        }
        self.next = picture.elapsed + PERIOD;
        let time = clock(picture.elapsed);
        match &picture.live {
            Ok(live) => {
                for line in lines(live) {
                    writeln!(out, "{time:>6}  {line}")?;
                }
            }
            Err(reason) => writeln!(out, "{time:>6}  {reason}")?,
        }
        out.flush()?;
        Ok(())
    }

    fn wait_for_stop(&mut self, pause: Duration) -> Result<bool> {
        thread::sleep(pause);
        Ok(false)
    }
}

fn lines(live: &Live) -> Vec<String> {
    let mut lines: Vec<String> = live
        .interfaces
        .iter()
        .map(|interface| {
            let (down, up) = (direction(&interface.ingress), direction(&interface.egress));
            format!("{:<15}  down {down}  up {up}", interface.name)
        })
        .collect();
    let losses: u64 = live.losses.values().sum();
    lines.push(format!(
        "NTP exchanges {}, unanswered {}; losses {losses}; waiting for the server: {} batches",
        live.ntp.exchanges_total, live.ntp.unanswered_total, live.outbox.batches
    ));
    lines
}

fn direction(direction: &Direction) -> String {
    let rate = bits_per_second(direction.bits_per_second.unwrap_or(0.0));
    let packets = scaled(direction.packets_per_second.unwrap_or(0.0));
    let size = match direction.average_packet_bytes {
        Some(bytes) => format!("{bytes:.0} B"),
        None => "-".to_owned(),
    };
    format!("{rate:>12} {:>12} {size:>7}", format!("{packets}pkt/s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::api::Interface;

    #[test]
    fn an_interface_takes_one_line() {
        let live = Live {
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                ingress: Direction {
                    bits_per_second: Some(12_300_000.0),
                    packets_per_second: Some(1025.0),
                    average_packet_bytes: Some(1500.0),
                },
                egress: Direction::default(),
            }],
            ..Live::default()
        };
        let lines = lines(&live);
        assert_eq!(
            lines[0],
            "eth0             down  12.3 Mbit/s  1.02 kpkt/s  1500 B  up      0 bit/s      0 pkt/s       -"
        );
        assert_eq!(lines.len(), 2);
    }
}
