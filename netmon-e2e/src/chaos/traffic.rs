//! Traffic that never stops: datagrams both ways, and NTP requests that are answered.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_lab::Namespace;

/// Datagrams per turn and direction, and the pause between turns.
const PER_TURN: usize = 4;
const TURN: Duration = Duration::from_millis(4);

/// How often an NTP request is made.
const REQUEST: Duration = Duration::from_millis(40);

/// Runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Traffic {
    done: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// Starts traffic between two places that share a cable.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub fn start(here: (&Namespace, &str), there: (&Namespace, &str)) -> Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicU64::new(0));
        let bind = |place: &Namespace, address: &str, port: u16| {
            let address: SocketAddr = format!("{address}:{port}").parse()?;
            place.run_inside(move || {
                let socket = UdpSocket::bind(address).context("cannot bind for UDP")?;
                socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                Ok(socket)
            })
        };
        let mut threads = Vec::new();
        let sockets = [bind(here.0, here.1, 5000)?, bind(there.0, there.1, 5000)?];
        let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        for (index, socket) in sockets.into_iter().enumerate() {
            let (done, to) = (Arc::clone(&done), addresses[1 - index]);
            socket.set_nonblocking(true)?;
            threads.push(thread::spawn(move || flood(&socket, to, &done)));
        }
        let responder = bind(there.0, there.1, 123)?;
        let server = responder.local_addr()?;
        let client = bind(here.0, here.1, 0)?;
        threads.push(thread::spawn({
            let done = Arc::clone(&done);
            move || respond(&responder, &done)
        }));
        threads.push(thread::spawn({
            let (done, requests) = (Arc::clone(&done), Arc::clone(&requests));
            move || ask(&client, server, &done, &requests)
        }));
        Ok(Self {
            done,
            requests,
            threads,
        })
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Stops all of it.
    ///
    /// # Errors
    /// What a thread ended with.
    pub fn stop(&mut self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("traffic does not panic")?;
        }
        Ok(())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn flood(socket: &UdpSocket, to: SocketAddr, done: &AtomicBool) -> Result<()> {
    let payload = [0x5a; 300];
    let mut buffer = [0; 512];
    let mut size = 0;
    while !done.load(Ordering::Relaxed) {
        for _ in 0..PER_TURN {
            size = size % payload.len() + 1;
            // A full buffer is the generator's business: what leaves is counted by the kernel.
            let _ = socket.send_to(&payload[..size], to);
            while socket.recv(&mut buffer).is_ok() {}
        }
        thread::sleep(TURN);
    }
    Ok(())
}

/// Answers as a server would: the client's transmit timestamp becomes the origin (RFC 5905 §8).
fn respond(socket: &UdpSocket, done: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 128];
    while !done.load(Ordering::Relaxed) {
        let Ok((48, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let transmit: [u8; 8] = buffer[40..48].try_into()?;
        let mut answer = [0; 48];
        answer[0] = 0x24;
        answer[1] = 2;
        answer[24..32].copy_from_slice(&transmit);
        answer[32..40].copy_from_slice(&transmit);
        answer[40..48].copy_from_slice(&transmit);
        let _ = socket.send_to(&answer, from);
    }
    Ok(())
}

fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    done: &AtomicBool,
    answered: &AtomicU64,
) -> Result<()> {
    let mut buffer = [0; 128];
    let mut number = 0xe000_0000_0000_0000_u64;
    while !done.load(Ordering::Relaxed) {
        // Each request has a transmit timestamp of its own, by which it is found again.
        number += 1;
        let mut request = [0; 48];
        request[0] = 0x23;
        request[40..48].copy_from_slice(&number.to_be_bytes());
        let _ = socket.send_to(&request, server);
        if socket.recv(&mut buffer).is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(REQUEST);
    }
    Ok(())
}
