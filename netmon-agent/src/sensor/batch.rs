//! Reading and emptying a hash map by batches (bpf(2), `BPF_MAP_LOOKUP_AND_DELETE_BATCH`, kernel 5.6
//! commit 057996380a42): one system call for thousands of entries, where the library needs two for
//! each.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    maps::{MapData, MapError},
    sys::SyscallError,
};

const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;
const CALL: &str = "bpf_map_lookup_and_delete_batch";
/// Entries of a first batch: the kernel asks for more room when a single bucket holds more.
const BATCH: usize = 4096;
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// The part of `union bpf_attr` for batches (include/uapi/linux/bpf.h).
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Takes every entry out of a hash map with keys of `K` and values of `V` octets.
pub(super) fn take_all<const K: usize, const V: usize>(
    map: &MapData,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), MapError> {
    let mut room = BATCH;
    let mut keys = vec![[0_u8; K]; room];
    let mut values = vec![[0_u8; V]; room];
    let (mut at, mut next) = (0_u32, 0_u32);
    let mut is_first = true;
    loop {
        let mut attributes = Attributes {
            in_batch: if is_first { 0 } else { (&raw const at) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            map_fd: map.fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the attributes are of the shape that this command expects; the buffers hold
        // `count` keys and values of the map's sizes, and a batch's position is four octets.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let errno = error.as_ref().and_then(io::Error::raw_os_error);
        if errno == Some(libc::ENOSPC) {
            room *= 2;
            keys.resize(room, [0; K]);
            values.resize(room, [0; V]);
            continue;
        }
        if let Some(io_error) = error.filter(|_| errno != Some(libc::ENOENT)) {
            let call = CALL;
            return Err(MapError::SyscallError(SyscallError { call, io_error }));
        }
        let taken = (attributes.count as usize).min(room);
        for (key, value) in keys.iter().zip(&values).take(taken) {
            each(key, value);
        }
        // "No such entry": this was the last batch.
        if errno.is_some() {
            return Ok(());
        }
        at = next;
        is_first = false;
    }
}

/// Returns when every program that runs now has ended: programs run within RCU read sections, and
/// this command waits for one grace period (membarrier(2)).
pub(super) fn wait_for_programs() {
    // SAFETY: the command takes no pointer. Where it is refused (`nohz_full`), the seconds since the
    // generation was turned must do.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
