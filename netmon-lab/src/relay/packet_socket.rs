//! A packet socket (packet(7)) that keeps what the kernel knows about a frame: offloads by a virtio
//! header, the VLAN tag that the kernel takes off on reception.

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
};

/// `struct virtio_net_hdr`, which PACKET_VNET_HDR puts in front of every frame.
pub(crate) const HEADER_BYTES: usize = 10;
const HEADER_FLAGS: usize = 0;
pub(crate) const HEADER_LENGTH: usize = 2;
const CHECKSUM_START: usize = 6;
const NEEDS_CHECKSUM: u8 = 1;

/// Behind the two link-layer addresses.
const TAG_OFFSET: usize = HEADER_BYTES + 12;
const TAG_BYTES: usize = 4;

/// The longest frame of segmentation offload (64 KiB) with room for its headers and a tag.
const LONGEST_FRAME_BYTES: usize = (64 << 10) + 512;

const RECEIVE_BUFFER_BYTES: libc::c_int = 16 << 20;

/// Room for one `struct tpacket_auxdata` as ancillary data, aligned as a `cmsghdr` must be.
#[repr(align(8))]
struct Ancillary([u8; 64]);

/// A socket bound to one interface: sees what comes in, not what goes out.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// What [`PacketSocket::receive`] found.
pub(super) enum Received {
    /// A virtio header and the frame behind it, as [`PacketSocket::send`] takes it.
    Frame(Vec<u8>),
    /// A frame beyond the longest there should be.
    TooLong,
    /// Nothing waits.
    Nothing,
}

impl PacketSocket {
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        // No protocol yet: otherwise frames of all interfaces would arrive until bind.
        // SAFETY: socket takes no pointer; the descriptor is new and nobody else's.
        let socket = unsafe {
            match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
                -1 => return Err(io::Error::last_os_error()),
                fd => Self(OwnedFd::from_raw_fd(fd)),
            }
        };
        let one: libc::c_int = 1;
        socket.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &one)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &one)?;
        // Linux 4.20. https://git.kernel.org/torvalds/c/fa788d986a3aac5069378ed04697bd06f83d3488
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &one)?;
        socket.set(
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            &RECEIVE_BUFFER_BYTES,
        )?;
        // A stuck interface must not keep the relay from stopping.
        let patience = libc::timeval {
            tv_sec: 0,
            tv_usec: 200_000,
        };
        socket.set(libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience)?;
        socket.bind(interface)?;
        Ok(socket)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: `value` is valid for its own size.
        let result = unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn bind(&self, interface: &str) -> io::Result<()> {
        let name = CString::new(interface)?;
        // SAFETY: `name` ends with a zero byte; sockaddr_ll is valid when all zero.
        let (index, mut address) = unsafe {
            (
                libc::if_nametoindex(name.as_ptr()),
                mem::zeroed::<libc::sockaddr_ll>(),
            )
        };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index.cast_signed();
        // SAFETY: `address` is valid for its own size.
        let result = unsafe {
            libc::bind(
                self.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Takes one frame if one waits.
    pub(super) fn receive(&self) -> Received {
        let mut buffer = vec![0; HEADER_BYTES + LONGEST_FRAME_BYTES];
        let mut ancillary = Ancillary([0; 64]);
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: msghdr is valid when all zero.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary.0.as_mut_ptr().cast();
        message.msg_controllen = ancillary.0.len();
        // SAFETY: `message` points to buffers that outlive the call, with their true lengths.
        let length = unsafe {
            libc::recvmsg(
                self.as_raw_fd(),
                &raw mut message,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
            )
        };
        let Ok(length) = usize::try_from(length) else {
            return Received::Nothing;
        };
        if length > buffer.len() || length < TAG_OFFSET {
            return Received::TooLong;
        }
        buffer.truncate(length);
        if let Some(tag) = stripped_tag(&message) {
            put_tag_back(&mut buffer, tag);
        }
        buffer.shrink_to_fit();
        Received::Frame(buffer)
    }

    /// Sends a frame with its virtio header.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: `frame` is valid for its length.
        let sent = unsafe { libc::send(self.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The VLAN tag the kernel took off the frame: protocol identifier and tag control information.
fn stripped_tag(message: &libc::msghdr) -> Option<[u8; TAG_BYTES]> {
    // SAFETY: `message` was filled by recvmsg; the CMSG functions stay within its control buffer,
    // and PACKET_AUXDATA carries one tpacket_auxdata.
    let auxiliary = unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if header.cmsg_level != libc::SOL_PACKET || header.cmsg_type != libc::PACKET_AUXDATA {
            return None;
        }
        libc::CMSG_DATA(header)
            .cast::<libc::tpacket_auxdata>()
            .read_unaligned()
    };
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let protocol = if auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        libc::ETH_P_8021Q as u16
    } else {
        auxiliary.tp_vlan_tpid
    };
    let [a, b] = protocol.to_be_bytes();
    let [c, d] = auxiliary.tp_vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}

/// Puts the tag where it was and moves the offsets of the virtio header behind it.
fn put_tag_back(frame: &mut Vec<u8>, tag: [u8; TAG_BYTES]) {
    frame.splice(TAG_OFFSET..TAG_OFFSET, tag);
    let mut moved = Vec::new();
    if frame[HEADER_FLAGS] & NEEDS_CHECKSUM != 0 {
        moved.push(CHECKSUM_START);
    }
    if u16_at(frame, HEADER_LENGTH) != 0 {
        moved.push(HEADER_LENGTH);
    }
    for field in moved {
        let value = u16_at(frame, field) + TAG_BYTES as u16;
        frame[field..field + 2].copy_from_slice(&value.to_ne_bytes());
    }
}

fn u16_at(frame: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes([frame[offset], frame[offset + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_tag_is_put_back_and_the_checksum_offset_moves_with_it() {
        let mut frame = vec![0; HEADER_BYTES + 60];
        frame[HEADER_FLAGS] = NEEDS_CHECKSUM;
        frame[CHECKSUM_START..CHECKSUM_START + 2].copy_from_slice(&34_u16.to_ne_bytes());
        frame[TAG_OFFSET..TAG_OFFSET + 2].copy_from_slice(&[0x08, 0x00]);
        put_tag_back(&mut frame, [0x81, 0x00, 0x00, 0x64]);
        assert_eq!(
            frame[TAG_OFFSET..TAG_OFFSET + 6],
            [0x81, 0x00, 0x00, 0x64, 0x08, 0x00]
        );
        assert_eq!(u16_at(&frame, CHECKSUM_START), 38);
        assert_eq!(u16_at(&frame, HEADER_LENGTH), 0);
        assert_eq!(frame.len(), HEADER_BYTES + 64);
    }
}
