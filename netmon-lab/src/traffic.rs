//! Traffic of known size between two namespaces, each kind with an end in time.

mod every_cpu;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use self::every_cpu::from_every_cpu;
use crate::{
    Child, Namespace, Signal, patient, programs,
    relay::packet_socket::{HEADER_BYTES, HEADER_LENGTH, PacketSocket},
};

/// Sends Ethernet frames as they are out of an interface. Of a frame of more than a page the kernel
/// keeps only `linear_bytes` in one piece, and the rest in pages.
///
/// # Errors
/// When the interface is not there, or takes a frame not.
pub fn frames(
    from: &Namespace,
    interface: &str,
    frames: &[Vec<u8>],
    linear_bytes: u16,
) -> Result<()> {
    let socket = open(from, interface)?;
    for frame in frames {
        socket
            .send(&with_header(frame, linear_bytes))
            .context("cannot send a frame")?;
    }
    Ok(())
}

fn open(from: &Namespace, interface: &str) -> Result<PacketSocket> {
    from.run_inside(|| {
        PacketSocket::open(interface).with_context(|| format!("cannot send from {interface}"))
    })
}

/// The virtio header that a packet socket takes, and the frame.
fn with_header(frame: &[u8], linear_bytes: u16) -> Vec<u8> {
    let mut with_header = vec![0; HEADER_BYTES];
    with_header[HEADER_LENGTH..HEADER_LENGTH + 2].copy_from_slice(&linear_bytes.to_ne_bytes());
    with_header.extend(frame);
    with_header
}

/// Sends `bytes` over one TCP connection to `listener`, an address of `to`; returns how many
/// arrived.
///
/// # Errors
/// When there is no connection, or no progress for `patience`, made
/// [`patient`].
pub fn tcp(
    from: &Namespace,
    to: &Namespace,
    listener: SocketAddr,
    bytes: u64,
    patience: Duration,
) -> Result<u64> {
    let patience = patient(patience);
    let socket = to.run_inside(|| TcpListener::bind(listener).context("cannot listen for TCP"))?;
    let listener = socket.local_addr()?;
    let mut sender = from.run_inside(|| {
        TcpStream::connect_timeout(&listener, patience).context("cannot connect by TCP")
    })?;
    let (mut receiver, _) = socket.accept().context("cannot accept")?;
    sender.set_write_timeout(Some(patience))?;
    receiver.set_read_timeout(Some(patience))?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            let block = vec![0x5a; 64 << 10];
            let mut left = bytes;
            while left > 0 {
                let part = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
                sender.write_all(&block[..part]).context("TCP is stuck")?;
                left -= part as u64;
            }
            Ok(())
        });
        let mut block = vec![0; 64 << 10];
        let mut received = 0;
        loop {
            match receiver.read(&mut block).context("TCP is stuck")? {
                0 => break,
                part => received += part as u64,
            }
        }
        sending.join().expect("sending does not panic")?;
        Ok(received)
    })
}

/// Sends `count` datagrams of `payload_bytes` each to `listener`, an address of `to`; returns how
/// many arrived. A receiver is bound, so that no ICMP error goes back.
///
/// # Errors
/// When a socket cannot be opened or sending fails.
pub fn udp(
    from: &Namespace,
    to: &Namespace,
    listener: SocketAddr,
    count: u32,
    payload_bytes: usize,
) -> Result<u32> {
    let receiver = to.run_inside(|| UdpSocket::bind(listener).context("cannot bind for UDP"))?;
    let listener = receiver.local_addr()?;
    receiver.set_read_timeout(Some(patient(Duration::from_millis(300))))?;
    let any = match listener.ip() {
        IpAddr::V4(_) => "0.0.0.0:0",
        IpAddr::V6(_) => "[::]:0",
    };
    let sender = from.run_inside(|| UdpSocket::bind(any).context("cannot bind for UDP"))?;
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut buffer = vec![0; payload_bytes.max(1)];
            let mut received = 0;
            // The pause after the last datagram ends it.
            while received < count && receiver.recv(&mut buffer).is_ok() {
                received += 1;
            }
            received
        });
        let payload = vec![0xa5; payload_bytes];
        for number in 0..count {
            match sender.send_to(&payload, listener) {
                Ok(_) => {}
                Err(full) if full.kind() == ErrorKind::WouldBlock => {}
                Err(other) => return Err(other).context("cannot send UDP"),
            }
            // Room for the receiver: loss here would be the generator's own.
            if number % 64 == 63 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(receiving.join().expect("receiving does not panic"))
    })
}

/// Sends `count` echo requests with `payload_bytes` each by ping(8), one every 2 ms; fails unless
/// all are answered.
///
/// # Errors
/// When ping is missing, or an answer is.
pub fn ping(from: &Namespace, to: IpAddr, count: u32, payload_bytes: u16) -> Result<()> {
    let limit = Duration::from_secs(10) + count * Duration::from_millis(20);
    let mut command = from.command(programs::find("ping")?);
    command
        .args(["-n", "-q", "-i", "0.002", "-W", "5"])
        .args(["-c", &count.to_string(), "-s", &payload_bytes.to_string()])
        .arg(to.to_string())
        .stdout(std::process::Stdio::null());
    let mut child = Child::spawn("ping", command, Signal::SIGKILL)?;
    let started = Instant::now();
    match child.wait_for(limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("ping {to} was not answered in full ({status})"),
        None => bail!("ping {to} did not end within {:?}", started.elapsed()),
    }
}
