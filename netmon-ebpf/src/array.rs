//! Values of arrays.

use aya_ebpf::{
    helpers::generated::bpf_map_lookup_elem,
    maps::{Array, PerCpuArray},
};

/// A map whose keys are indices.
pub trait Slots<T> {
    /// The value at an index; of an array for each CPU, this CPU's. It stays valid, and nobody else
    /// touches that of a CPU while a program runs: softirqs are off.
    fn slot(&self, index: u32) -> Option<*mut T>;
}

impl<T> Slots<T> for Array<T> {
    #[inline(always)]
    fn slot(&self, index: u32) -> Option<*mut T> {
        look_up(self, index)
    }
}

impl<T> Slots<T> for PerCpuArray<T> {
    #[inline(always)]
    fn slot(&self, index: u32) -> Option<*mut T> {
        look_up(self, index)
    }
}

/// The index is written as a whole word of the stack: without `CAP_PERFMON`, the verifier of Linux 6.1
/// takes a word for a damaged pointer of which a half is written after the whole, and the compiler puts
/// one thing after the other there. (Seen on 6.1.0-56 of Debian.)
#[inline(always)]
fn look_up<M, T>(map: &M, index: u32) -> Option<*mut T> {
    let word = if cfg!(target_endian = "little") {
        u64::from(index)
    } else {
        u64::from(index) << 32
    };
    // SAFETY: the type of a map is its definition, which the loader replaces by the map; a key is the
    // first four octets of the word.
    let value = unsafe {
        bpf_map_lookup_elem(
            (&raw const *map).cast_mut().cast(),
            (&raw const word).cast(),
        )
    };
    (!value.is_null()).then_some(value.cast())
}
