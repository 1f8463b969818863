//! What the kernel makes of a frame before it runs a program on it.

/// Octets of the kernel's `struct __sk_buff` that are filled in, and where its fields stand.
const LENGTH: usize = 192;
const DATA_END: usize = 80;
const SEGMENTS: usize = 164;
const SEGMENT_BYTES: usize = 176;

/// A socket buffer that is not simply a frame of its own. 0 leaves a field to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestBuffer {
    /// How many packets on the wire it stands for (`gso_segs`).
    pub segments: u32,
    /// Octets of payload in each of them (`gso_size`; kernel 5.7, commit cf62089b0edd).
    pub segment_bytes: u32,
    /// Octets that lie in one piece, from the start on: the rest lies in pages. Kernels that cannot
    /// build such buffers refuse.
    pub linear_bytes: u32,
}

impl TestBuffer {
    /// As the kernel takes it.
    pub(super) fn context(self) -> [u8; LENGTH] {
        let mut context = [0; LENGTH];
        for (at, value) in [
            (DATA_END, self.linear_bytes),
            (SEGMENTS, self.segments),
            (SEGMENT_BYTES, self.segment_bytes),
        ] {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        context
    }
}
