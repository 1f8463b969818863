//! Frames as fast as one CPU can send them, or at a rate: what a sensor must keep up with.

mod messages;
mod paced;

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use self::messages::Messages;
pub use self::paced::Pace;
use crate::{Namespace, cpus::stay_on};

/// Frames that one system call hands over: more of them save nothing.
const AT_ONCE: usize = 256;

/// A socket that sends frames out of an interface, past any queueing discipline.
#[derive(Debug)]
pub struct Flood(OwnedFd);

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames that the kernel took.
    pub frames: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// Time on the CPU of the thread that sent them; over a veth pair with what the receiving stack
    /// took for them.
    pub cpu: Duration,
}

impl Sent {
    /// Frames a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.frames as f64 / self.elapsed.as_secs_f64()
    }
}

impl Flood {
    /// Opens a socket on an interface of `place`.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, and when there is no such interface.
    pub fn open(place: &Namespace, interface: &str) -> Result<Self> {
        let open = || packet_socket(interface);
        place
            .run_inside(|| open().with_context(|| format!("cannot send from {interface}")))
            .map(Self)
    }

    /// Sends the frames one after the other and again from the first, until `time` is over. The
    /// sending thread stays on `cpu`, if one is given; over a veth pair the receiving stack runs on
    /// the same CPU, in the softirq that each frame raises.
    ///
    /// # Errors
    /// When the interface does not take the frames.
    pub fn send_for(&self, frames: &[Vec<u8>], time: Duration, cpu: Option<usize>) -> Result<Sent> {
        self.send(frames, cpu, |_, elapsed| elapsed >= time)
    }

    /// Sends each frame once, with a pause of a millisecond after every `burst` of them.
    ///
    /// # Errors
    /// As [`Flood::send_for`].
    pub fn send_once(&self, frames: &[Vec<u8>], burst: usize) -> Result<Sent> {
        let mut sent = 0;
        let mut cpu = Duration::ZERO;
        let began = Instant::now();
        for part in frames.chunks(burst.max(1)) {
            let all = part.len() as u64;
            let done = self.send(part, None, |frames, _| frames >= all)?;
            sent += done.frames;
            cpu += done.cpu;
            thread::sleep(Duration::from_millis(1));
        }
        let elapsed = began.elapsed();
        Ok(Sent {
            frames: sent,
            elapsed,
            cpu,
        })
    }

    fn send(
        &self,
        frames: &[Vec<u8>],
        cpu: Option<usize>,
        is_over: impl Fn(u64, Duration) -> bool + Send,
    ) -> Result<Sent> {
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                if let Some(cpu) = cpu {
                    stay_on(cpu)?;
                }
                self.send_here(frames, is_over)
            });
            sending.join().expect("sending does not panic")
        })
        .context("cannot send a frame")
    }

    fn send_here(
        &self,
        frames: &[Vec<u8>],
        is_over: impl Fn(u64, Duration) -> bool,
    ) -> io::Result<Sent> {
        let mut messages = Messages::new(frames);
        let (mut at, mut sent) = (0, 0);
        let began = Instant::now();
        let cpu_before = on_cpu()?;
        loop {
            let elapsed = began.elapsed();
            if frames.is_empty() || is_over(sent, elapsed) {
                return Ok(Sent {
                    frames: sent,
                    elapsed,
                    cpu: on_cpu()? - cpu_before,
                });
            }
            let end = messages.len().min(at + AT_ONCE);
            let taken = messages.hand_over(&self.0, at..end)?;
            sent += taken as u64;
            at = (at + taken) % messages.len();
        }
    }
}

/// What this thread has had so far.
fn on_cpu() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    // No protocol: nothing is received.
    // SAFETY: socket takes no pointer; the descriptor is new and nobody else's.
    let socket = unsafe {
        match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let name = CString::new(interface)?;
    let one: libc::c_int = 1;
    // SAFETY: `name` ends with a zero byte; sockaddr_ll is valid when all zero; the pointers are
    // valid for the lengths that go with them.
    unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        let mut address: libc::sockaddr_ll = mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index.cast_signed();
        let bypass = libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const one).cast(),
            size_of_val(&one) as u32,
        );
        let bound = libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        );
        if index == 0 || bypass != 0 || bound != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        InterfaceStatistics,
        link::{End, Mac, veth},
    };

    #[test]
    fn every_frame_that_was_sent_arrives() -> Result<()> {
        let (here, there) = (Namespace::new()?, Namespace::new()?);
        let end = |place, name, number| End {
            place,
            name,
            mac: Mac::local(number),
        };
        veth(end(&here, "out", 1), end(&there, "in", 2))?;
        let mut frame = [0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5].to_vec();
        frame.resize(60, 0);
        let frames = vec![frame; 1000];
        let flood = Flood::open(&here, "out")?;
        assert_eq!(flood.send_once(&frames, 300)?.frames, 1000);
        let more = flood.send_for(&frames, Duration::from_millis(20), Some(0))?;
        assert!(more.frames > 100 && more.rate() > 0.0, "{more:?}");
        let arrived = InterfaceStatistics::read(&there, "in")?.rx_packets;
        // A cable counts what its far end has no room for as dropped before it was sent.
        let dropped = InterfaceStatistics::read(&here, "out")?.tx_dropped;
        assert_eq!(arrived + dropped, 1000 + more.frames);
        Ok(())
    }
}
