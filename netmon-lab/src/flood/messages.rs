//! Frames as sendmmsg(2) takes them.

use std::{
    io,
    marker::PhantomData,
    mem,
    ops::Range,
    os::fd::{AsRawFd as _, OwnedFd},
};

/// Frames that one system call may hand over together.
pub(super) struct Messages<'a> {
    headers: Vec<libc::mmsghdr>,
    /// What the headers point to; a move leaves it where it is.
    _parts: Vec<libc::iovec>,
    /// What the parts point to.
    _frames: PhantomData<&'a [Vec<u8>]>,
}

impl<'a> Messages<'a> {
    pub(super) fn new(frames: &'a [Vec<u8>]) -> Self {
        let part = |frame: &Vec<u8>| libc::iovec {
            // The kernel only reads from it.
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        let mut parts: Vec<libc::iovec> = frames.iter().map(part).collect();
        let header = |part: &mut libc::iovec| {
            // SAFETY: mmsghdr is valid when all zero.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        Self {
            headers: parts.iter_mut().map(header).collect(),
            _parts: parts,
            _frames: PhantomData,
        }
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Hands a part of the frames over; gives how many were taken: none when the receiving side's
    /// queue is full.
    pub(super) fn hand_over(&mut self, socket: &OwnedFd, which: Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[which];
        // SAFETY: there are so many headers, and what they point to outlives them.
        let taken = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                0,
            )
        };
        usize::try_from(taken).or_else(|_| match io::Error::last_os_error() {
            full if full.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            other => Err(other),
        })
    }
}
