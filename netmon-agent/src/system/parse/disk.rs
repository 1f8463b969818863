//! `/proc/diskstats`.

/// The kernel counts sectors of 512 octets, whatever the device has.
const SECTOR_BYTES: u64 = 512;

/// One block device since it appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Such as `sda` or `nvme0n1p1`.
    pub name: String,
    /// Completed.
    pub reads: u64,
    /// Completed.
    pub writes: u64,
    /// Octets.
    pub read_bytes: u64,
    /// Octets.
    pub written_bytes: u64,
    /// Time with at least one request under way; the kernel's counter has 32 bits.
    pub busy_ms: u64,
}

/// Every line of `/proc/diskstats` that describes a device which was ever used. Linux before 2.6.25
/// had four figures for a partition; such lines are passed over.
pub fn disks(diskstats: &str) -> Vec<Disk> {
    diskstats
        .lines()
        .filter_map(disk)
        .filter(|disk| disk.reads + disk.writes > 0)
        .collect()
}

fn disk(line: &str) -> Option<Disk> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let number = |index: usize| words.get(index)?.parse::<u64>().ok();
    let octets = |index| number(index).map(|sectors| sectors.saturating_mul(SECTOR_BYTES));
    Some(Disk {
        name: (*words.get(2)?).to_owned(),
        reads: number(3)?,
        read_bytes: octets(5)?,
        writes: number(7)?,
        written_bytes: octets(9)?,
        busy_ms: number(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_and_one_never_used_is_not() {
        // Linux 6.18 (flushes), 4.14 (no discards) and 2.6.18 (four figures for a partition).
        let text = "\
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 21 1 4096 35 7 9 1024 70 0 12 105 0 0 0 0 1 2
   8       0 sda 100 1 16 35 200 9 32 70 0 13 105
   8       1 sda1 100 16 200 32
";
        let disk =
            |name: &str, [reads, read_bytes, writes, written_bytes, busy_ms]: [u64; 5]| Disk {
                name: name.to_owned(),
                reads,
                writes,
                read_bytes,
                written_bytes,
                busy_ms,
            };
        assert_eq!(
            disks(text),
            [
                disk("vda", [21, 2_097_152, 7, 524_288, 12]),
                disk("sda", [100, 8192, 200, 16_384, 13]),
            ]
        );
    }

    #[test]
    fn text_that_is_none_has_no_devices() {
        assert_eq!(disks("a b c\n\n1 2 3 4 5 6 7 8 9\n"), []);
    }
}
