//! A cable in user space: carries every frame between two interfaces, each way with a delay of its
//! own.

pub(crate) mod packet_socket;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use self::packet_socket::{PacketSocket, Received};
use crate::Namespace;

/// A direction holds back at most this many bytes; what is beyond is dropped and counted.
const QUEUE_LIMIT_BYTES: usize = 64 << 20;

/// So long before a frame is due its direction stays awake: being woken takes longer than it should on a
/// busy machine.
const AWAKE: Duration = Duration::from_micros(100);

/// A running relay; dropping it cuts the cable.
///
/// Frames pass as they are, checksum offload and segmentation offload included: what the kernel
/// knows about a frame travels along as a virtio header. Order is kept within a direction.
#[derive(Debug)]
pub struct Relay {
    forward: Arc<Direction>,
    backward: Arc<Direction>,
    stop: OwnedFd,
    threads: Vec<JoinHandle<()>>,
}

/// How many frames one direction has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Frames passed on; one of segmentation offload counts as one.
    pub frames: u64,
    /// Frames lost, because the queue was full or the outgoing interface refused.
    pub dropped: u64,
}

impl Relay {
    /// Joins two interfaces of `place`. `forward` is the delay from `a` to `b`, `backward` from `b`
    /// to `a`.
    ///
    /// # Errors
    /// When an interface is not there, or without `CAP_NET_RAW`.
    pub fn start(
        place: &Namespace,
        a: &str,
        b: &str,
        forward: Duration,
        backward: Duration,
    ) -> Result<Self> {
        let (at_a, at_b) = place.run_inside(|| {
            let open =
                |name| PacketSocket::open(name).with_context(|| format!("cannot listen on {name}"));
            Ok((Arc::new(open(a)?), Arc::new(open(b)?)))
        })?;
        let stop = event_fd().context("cannot create an eventfd")?;
        let forward = Arc::new(Direction::new(forward));
        let backward = Arc::new(Direction::new(backward));
        let mut relay = Self {
            forward: Arc::clone(&forward),
            backward: Arc::clone(&backward),
            stop,
            threads: Vec::new(),
        };
        for (name, direction, from, to) in [
            ("relay-forward", forward, &at_a, &at_b),
            ("relay-backward", backward, &at_b, &at_a),
        ] {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let stop = relay.stop.try_clone().context("cannot share the eventfd")?;
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || direction.carry(&from, &to, &stop))
                .context("cannot start a thread")?;
            relay.threads.push(thread);
        }
        Ok(relay)
    }

    /// Sets the delays for frames that arrive from now on.
    pub fn set_delays(&self, forward: Duration, backward: Duration) {
        self.forward.set_delay(forward);
        self.backward.set_delay(backward);
    }

    /// What went from `a` to `b` so far, and from `b` to `a`.
    #[must_use]
    pub fn carried(&self) -> (Carried, Carried) {
        (self.forward.carried(), self.backward.carried())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Ok(stop) = self.stop.try_clone() {
            // Cannot fail: the counter of an eventfd is far from its end.
            let _ = io::Write::write_all(&mut File::from(stop), &1_u64.to_ne_bytes());
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Direction {
    delay_ns: AtomicU64,
    frames: AtomicU64,
    dropped: AtomicU64,
}

struct Waiting {
    due: Instant,
    frame: Vec<u8>,
}

impl Direction {
    fn new(delay: Duration) -> Self {
        let direction = Self {
            delay_ns: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        direction.set_delay(delay);
        direction
    }

    fn set_delay(&self, delay: Duration) {
        let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.delay_ns.store(delay_ns, Relaxed);
    }

    fn carried(&self) -> Carried {
        Carried {
            frames: self.frames.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }

    fn carry(&self, from: &PacketSocket, to: &PacketSocket, stop: &OwnedFd) {
        be_woken_in_time();
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        let mut queued_bytes = 0;
        loop {
            let pause = queue.front().map(|first| {
                let left = first.due.saturating_duration_since(Instant::now());
                left.saturating_sub(AWAKE)
            });
            if wait_readable(from, stop, pause) {
                return;
            }
            self.take_in(from, &mut queue, &mut queued_bytes);
            while let Some(first) = queue.front() {
                if first.due > Instant::now() {
                    break;
                }
                let Some(first) = queue.pop_front() else {
                    break;
                };
                queued_bytes -= first.frame.len();
                match to.send(&first.frame) {
                    Ok(()) => self.frames.fetch_add(1, Relaxed),
                    Err(_) => self.dropped.fetch_add(1, Relaxed),
                };
            }
        }
    }

    /// Takes what has arrived, but not for ever: what is due must leave in between.
    fn take_in(
        &self,
        from: &PacketSocket,
        queue: &mut VecDeque<Waiting>,
        queued_bytes: &mut usize,
    ) {
        for _ in 0..64 {
            let frame = match from.receive() {
                Received::Frame(frame) => frame,
                Received::TooLong => {
                    self.dropped.fetch_add(1, Relaxed);
                    continue;
                }
                Received::Nothing => return,
            };
            if *queued_bytes + frame.len() > QUEUE_LIMIT_BYTES {
                self.dropped.fetch_add(1, Relaxed);
                continue;
            }
            let due = Instant::now() + Duration::from_nanos(self.delay_ns.load(Relaxed));
            // A delay that was shortened does not let later frames overtake.
            let due = queue.back().map_or(due, |last| last.due.max(due));
            *queued_bytes += frame.len();
            queue.push_back(Waiting { due, frame });
        }
    }
}

/// Lets the calling thread run before programs that compute: a cable does not wait for them.
fn be_woken_in_time() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: prctl with PR_SET_TIMERSLACK takes no pointer; `priority` is valid for the call, which is
    // about the calling thread only.
    unsafe {
        // The kernel may otherwise wake a thread 50 us late.
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        // Where this is not allowed (it takes CAP_SYS_NICE), delays are as exact as the machine is idle.
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority);
    }
}

/// Waits for a frame, for the stop, or for `pause` to pass; true means stop.
fn wait_readable(from: &PacketSocket, stop: &OwnedFd, pause: Option<Duration>) -> bool {
    let mut ready = [from.as_raw_fd(), stop.as_raw_fd()].map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let pause = pause.map(|pause| libc::timespec {
        tv_sec: pause.as_secs().cast_signed(),
        tv_nsec: pause.subsec_nanos().into(),
    });
    let pause = pause.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `ready` is an array of two, `pause` is null or valid; no signal mask is given.
    unsafe { libc::ppoll(ready.as_mut_ptr(), 2, pause, std::ptr::null()) };
    ready[1].revents != 0
}

fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointer; the descriptor is new and nobody else's.
    unsafe {
        match libc::eventfd(0, libc::EFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
