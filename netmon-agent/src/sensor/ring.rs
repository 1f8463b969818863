//! How full the ring of NTP events is.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::Sensor;

/// The two positions of a BPF ring buffer, mapped read-only: the consumer's page, and behind it the
/// producer's (kernel/bpf/ringbuf.c).
#[derive(Debug)]
pub struct RingFill {
    pages: NonNull<u8>,
    page_bytes: usize,
    capacity_bytes: u64,
}

// SAFETY: the mapping belongs to no thread, and is only read, by atomic loads.
unsafe impl Send for RingFill {}

impl Sensor {
    /// Looks at the ring's positions from now on.
    pub fn ring_fill(&self) -> io::Result<RingFill> {
        let ring = self.events.get_ref().as_fd();
        // SAFETY: it takes a number and returns one.
        let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(io::Error::other)?;
        // A pinned ring keeps the size it was made with.
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", ring.as_raw_fd()))?;
        let capacity_bytes = max_entries(&about)
            .ok_or_else(|| io::Error::other("the kernel does not say the ring's size"))?;
        // SAFETY: a new mapping at an address of the kernel's choice, of the two pages that every
        // ring buffer begins with; it outlives the descriptor.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * page_bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                ring.as_raw_fd(),
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(RingFill {
            pages: NonNull::new(pages.cast()).ok_or_else(|| io::Error::other("mapped to 0"))?,
            page_bytes,
            capacity_bytes,
        })
    }
}

impl RingFill {
    /// Octets of records that nobody has taken yet, their headers of 8 octets included.
    pub fn used_bytes(&self) -> u64 {
        // First what was taken, so that what is added meanwhile does not make it negative.
        let consumed = self.position(0);
        self.position(1).wrapping_sub(consumed) as u64
    }

    /// Octets the ring has room for.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    fn position(&self, page: usize) -> usize {
        // SAFETY: both pages are mapped as long as self lives; each begins with a position, an
        // aligned word that the kernel writes atomically.
        let position = unsafe {
            self.pages
                .add(page * self.page_bytes)
                .cast::<AtomicUsize>()
                .as_ref()
        };
        position.load(Ordering::Acquire)
    }
}

impl Drop for RingFill {
    fn drop(&mut self) {
        // SAFETY: what ring_fill() mapped, and nobody holds a reference into it.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), 2 * self.page_bytes) };
    }
}

/// From the lines of a map's `/proc/self/fdinfo`.
fn max_entries(about: &str) -> Option<u64> {
    let line = about
        .lines()
        .find_map(|line| line.strip_prefix("max_entries:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_map_is_read() {
        let about =
            "pos:\t0\nmap_type:\t27\nkey_size:\t0\nmax_entries:\t4194304\nmap_flags:\t0x0\n";
        assert_eq!(max_entries(about), Some(4_194_304));
        assert_eq!(max_entries("pos:\t0\n"), None);
    }
}
