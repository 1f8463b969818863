//! The same frame from every CPU at once.

use std::{io::ErrorKind, sync::Barrier, thread};

use anyhow::{Context as _, Result};

use super::{open, with_header};
use crate::{Namespace, cpus};

/// Sends an Ethernet frame as it is out of an interface, `count` times from each CPU that this process
/// may use, all at once: a veth pair hands it on by the CPU that sends it. Gives how many each has
/// sent; what the kernel refuses for want of room is not among them.
///
/// # Errors
/// When the interface is not there, or a thread cannot be kept on its CPU.
pub fn from_every_cpu(
    from: &Namespace,
    interface: &str,
    frame: &[u8],
    count: u32,
) -> Result<Vec<u64>> {
    let cpus = cpus::allowed().context("cannot ask for CPUs")?;
    let sockets = cpus.iter().map(|_| open(from, interface));
    let sockets = sockets.collect::<Result<Vec<_>>>()?;
    let frame = with_header(frame, 0);
    let start = Barrier::new(cpus.len());
    thread::scope(|scope| {
        let mut sending = Vec::new();
        for (cpu, socket) in cpus.iter().zip(&sockets) {
            let (frame, start) = (&frame, &start);
            sending.push(scope.spawn(move || -> Result<u64> {
                let pinned = cpus::stay_on(*cpu);
                start.wait();
                pinned.with_context(|| format!("cannot run on CPU {cpu}"))?;
                let mut sent = 0;
                for _ in 0..count {
                    match socket.send(frame) {
                        Ok(()) => sent += 1,
                        Err(full) if is_want_of_room(&full) => thread::yield_now(),
                        Err(other) => return Err(other).context("cannot send a frame"),
                    }
                }
                Ok(sent)
            }));
        }
        let sent = sending
            .into_iter()
            .map(|thread| thread.join().expect("sending does not panic"));
        sent.collect()
    })
}

/// The other end's backlog is full.
fn is_want_of_room(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}
