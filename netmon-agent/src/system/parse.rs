//! The texts of `/proc`, each understood as far as it goes: a line that does not look as known is
//! passed over, so that one kernel's oddity costs one figure.

mod disk;
mod memory;
mod mounts;
mod network;
mod processor;
mod tcp;

pub use disk::{Disk, disks};
pub use memory::{Memory, memory, swapped_bytes};
pub use mounts::{Mount, mounts};
pub use network::{InterfaceErrors, Sockets, interface_errors, sockets};
pub use processor::{Activity, Cpu, Load, TICK_FIELDS, Ticks, activity, cpu, load, uptime_ms};
pub use tcp::{Tcp, count_states, tcp};

/// Hundredths of a decimal number with two places, as `/proc` writes averages and times.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.')?;
    if rest.len() != 2 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(100)?.checked_add(rest.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_and_times_are_hundredths() {
        for (text, value) in [
            ("0.31", Some(31)),
            ("12.05", Some(1205)),
            ("11937.10", Some(1_193_710)),
            ("1", None),
            ("1.5", None),
            ("1.-5", None),
            ("", None),
            ("99999999999999999999.00", None),
        ] {
            assert_eq!(hundredths(text), value, "{text}");
        }
    }
}
