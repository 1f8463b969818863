//! `/proc/meminfo` and `/proc/vmstat`.

/// Octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the kernel can give out.
    pub total: u64,
    /// Not used for anything.
    pub free: u64,
    /// What programs could get without swapping (Linux 3.14).
    pub available: Option<u64>,
    /// Buffers of block devices.
    pub buffers: u64,
    /// Page cache, shared memory included.
    pub cached: u64,
    /// tmpfs and shared memory.
    pub shared: u64,
    /// The kernel's own objects.
    pub slab: u64,
    /// Swap space.
    pub swap_total: u64,
    /// Swap space not used.
    pub swap_free: u64,
}

/// `/proc/meminfo`; `None` if it does not say how much memory there is and how much is free.
pub fn memory(meminfo: &str) -> Option<Memory> {
    let mut memory = Memory::default();
    let (mut total, mut free) = (None, None);
    for line in meminfo.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let mut words = value.split_ascii_whitespace();
        let kib: Option<u64> = words.next().and_then(|word| word.parse().ok());
        let Some(octets) = kib.and_then(|kib| kib.checked_mul(1024)) else {
            continue;
        };
        match name {
            "MemTotal" => total = Some(octets),
            "MemFree" => free = Some(octets),
            "MemAvailable" => memory.available = Some(octets),
            "Buffers" => memory.buffers = octets,
            "Cached" => memory.cached = octets,
            "Shmem" => memory.shared = octets,
            "Slab" => memory.slab = octets,
            "SwapTotal" => memory.swap_total = octets,
            "SwapFree" => memory.swap_free = octets,
            _ => {}
        }
    }
    Some(Memory {
        total: total?,
        free: free?,
        ..memory
    })
}

/// Octets swapped in and out since the boot, from `/proc/vmstat`, which counts pages.
pub fn swapped_bytes(vmstat: &str, page_bytes: u64) -> Option<(u64, u64)> {
    let find = |name| {
        let value = vmstat
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse::<u64>().ok()?.checked_mul(page_bytes)
    };
    Some((find("pswpin")?, find("pswpout")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_octets() {
        let linux_6_18 = "MemTotal:       24684100 kB\nMemFree:        21250768 kB\n\
            MemAvailable:   23850064 kB\nBuffers:           11732 kB\nCached:          2595140 kB\n\
            SwapCached:            0 kB\nShmem:              8724 kB\nSlab:             370596 kB\n\
            SwapTotal:       1000000 kB\nSwapFree:         999999 kB\nHugePages_Total:       0\n";
        let expected = Memory {
            total: 24_684_100 << 10,
            free: 21_250_768 << 10,
            available: Some(23_850_064 << 10),
            buffers: 11_732 << 10,
            cached: 2_595_140 << 10,
            shared: 8_724 << 10,
            slab: 370_596 << 10,
            swap_total: 1_000_000 << 10,
            swap_free: 999_999 << 10,
        };
        assert_eq!(memory(linux_6_18), Some(expected));
    }

    #[test]
    fn a_kernel_before_3_14_does_not_say_what_is_available() {
        let memory = memory("MemTotal: 1 kB\nMemFree: 1 kB\nInactive: 5 kB\n").unwrap();
        assert_eq!((memory.total, memory.available), (1024, None));
    }

    #[test]
    fn half_a_text_is_no_memory() {
        for text in ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemFree: 1 kB\n"] {
            assert_eq!(memory(text), None, "{text:?}");
        }
    }

    #[test]
    fn swapping_is_counted_in_pages() {
        let vmstat = "pgpgin 88876385\npswpin 3\npswpout 4\npswpout_zero 9\n";
        assert_eq!(swapped_bytes(vmstat, 4096), Some((12_288, 16_384)));
        assert_eq!(swapped_bytes("pgpgin 1\n", 4096), None);
    }
}
