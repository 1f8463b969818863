//! A NAT in user space: what it is for the packets between agent and server, and how it forgets.

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use netmon_lab::Namespace;

/// Passes datagrams from one client to a server and back; dropping it ends that.
pub struct Nat {
    mapping: Arc<Mutex<Mapping>>,
    place: Namespace,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Mapping {
    client: Option<SocketAddr>,
    /// Clients whose entry leads nowhere.
    forgotten: HashSet<SocketAddr>,
    /// The socket the server sees.
    outside: UdpSocket,
}

impl Nat {
    /// Listens on `inside` of `place` for what goes to `server`.
    pub fn start(place: &Namespace, inside: SocketAddr, server: SocketAddr) -> Result<Self> {
        let socket = place.run_inside(|| Ok(UdpSocket::bind(inside)?))?;
        socket.set_nonblocking(true)?;
        let mapping = Arc::new(Mutex::new(Mapping {
            client: None,
            forgotten: HashSet::new(),
            outside: outside(place)?,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&mapping), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut mapping = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if !mapping.carry(&socket, server) {
                    drop(mapping);
                    thread::sleep(Duration::from_micros(500));
                }
            }
        });
        Ok(Self {
            mapping,
            place: place.clone(),
            stop,
            thread: Some(thread),
        })
    }

    /// From now on the server sees another port.
    pub fn change_port(&self) -> Result<()> {
        let fresh = outside(&self.place)?;
        self.mapping.lock().expect("no panic").outside = fresh;
        Ok(())
    }

    /// What comes from the client's present port is lost from now on.
    pub fn forget_client(&self) {
        let mut mapping = self.mapping.lock().expect("no panic");
        let client = mapping.client.take();
        mapping.forgotten.extend(client);
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Mapping {
    /// Passes on what has come; false if there was nothing.
    fn carry(&mut self, inside: &UdpSocket, server: SocketAddr) -> bool {
        let mut buffer = [0; 65_535];
        let mut busy = false;
        match inside.recv_from(&mut buffer) {
            Ok((length, client)) => {
                busy = true;
                if !self.forgotten.contains(&client) {
                    self.client = Some(client);
                    let _ = self.outside.send_to(&buffer[..length], server);
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        // An error says that the server was away for a moment.
        if let Ok((length, _)) = self.outside.recv_from(&mut buffer) {
            busy = true;
            if let Some(client) = self.client {
                let _ = inside.send_to(&buffer[..length], client);
            }
        }
        busy
    }
}

fn outside(place: &Namespace) -> Result<UdpSocket> {
    let socket = place.run_inside(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
