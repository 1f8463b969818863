//! Frames through a kernel program and through the slice reader: what both say must be the same.

use anyhow::{Context as _, Result, bail, ensure};
use netmon_agent::sensor::{Program, Sensor, TEST_RUN_IFINDEX, TestBuffer};
use netmon_common::{
    counters::{Class, Counters, Direction},
    event::{EventKind, MAX_PAYLOAD, NtpEvent},
    loss::Loss,
    ntp::NtpPorts,
    packet::{Addresses, Datagram, IpHeader, Link, Slice, headers_length, udp_on_port},
};

use super::table::Fate;

/// Room for the events of a batch.
const RING_BYTES: u32 = 4 << 20;
/// Frames whose results are looked at together: reading the maps costs as much as many frames.
const BATCH: usize = 2000;

/// What one reader says of a number of frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub events: Vec<Event>,
    pub losses: [u64; Loss::ALL.len()],
    pub classes: [Counters; Class::ALL.len()],
}

/// An event without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    kind: EventKind,
    addresses: [String; 2],
    ports: [u16; 2],
    vlans: [u16; 2],
    ttl: u8,
    frame_length: u32,
    payload_length: u16,
    payload: Vec<u8>,
    direction: Direction,
}

/// A program beside the slice reader.
pub struct Comparison {
    sensor: Sensor,
    program: Program,
    direction: Direction,
    ports: NtpPorts,
    buffer: TestBuffer,
    /// What the kernel had counted at the last look.
    losses: [u64; Loss::ALL.len()],
    classes: [Counters; Class::ALL.len()],
    waiting: Vec<Vec<u8>>,
    compared: u64,
}

impl Comparison {
    pub fn new(program: Program, direction: Direction) -> Result<Self> {
        let mut sensor = Sensor::load(RING_BYTES, false, None)?;
        if program == Program::XdpIngress {
            sensor.has_xdp()?;
        }
        sensor.insert_counters(TEST_RUN_IFINDEX)?;
        Ok(Self {
            sensor,
            program,
            direction,
            ports: NtpPorts::default(),
            buffer: TestBuffer::default(),
            losses: Default::default(),
            classes: Default::default(),
            waiting: Vec::with_capacity(BATCH),
            compared: 0,
        })
    }

    /// Looks for NTP on these ports from now on.
    pub fn look_on(&mut self, ports: NtpPorts) -> Result<()> {
        self.compare()?;
        self.sensor.set_ntp_ports(&ports)?;
        self.ports = ports;
        Ok(())
    }

    /// Lays the frames out in buffers of this shape, if the kernel can: the empty program tries.
    pub fn lay_out(&mut self, buffer: TestBuffer) -> Result<bool> {
        self.buffer = buffer;
        self.sensor.load_empty()?;
        let tried = self.sensor.test_run_on(Program::Empty, &[0; 100], buffer);
        Ok(tried.is_ok())
    }

    /// Takes a frame; it is compared with others, at the latest in [`Self::finish`]. A frame that
    /// the kernel does not run programs on is passed over.
    pub fn add(&mut self, frame: &[u8]) -> Result<()> {
        if frame.len() < least_length(frame) {
            return Ok(());
        }
        self.waiting.push(frame.to_vec());
        if self.waiting.len() == BATCH {
            self.compare()?;
        }
        Ok(())
    }

    /// Frames compared or about to be.
    pub fn taken(&self) -> u64 {
        self.compared + self.waiting.len() as u64
    }

    /// Compares what is left, and says how many frames were compared in all.
    pub fn finish(mut self) -> Result<u64> {
        self.compare()?;
        Ok(self.compared)
    }

    fn compare(&mut self) -> Result<()> {
        let frames = std::mem::take(&mut self.waiting);
        if self.of_the_kernel(&frames)? != self.of_the_slices(&frames) {
            return self.blame(&frames);
        }
        self.compared += frames.len() as u64;
        Ok(())
    }

    /// Names the frame that makes the difference.
    fn blame(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        for frame in frames {
            let one = std::slice::from_ref(frame);
            let kernel = self.of_the_kernel(one)?;
            let slice = self.of_the_slices(one);
            ensure!(
                kernel == slice,
                "they differ on {frame:02x?}\nkernel: {kernel:?}\nslice:  {slice:?}"
            );
        }
        bail!("a batch differs, and none of its frames does");
    }

    fn run(&self, frame: &[u8]) -> Result<()> {
        if self.buffer == TestBuffer::default() {
            self.sensor.test_run(self.program, frame, 1)?;
        } else {
            self.sensor.test_run_on(self.program, frame, self.buffer)?;
        }
        Ok(())
    }

    fn of_the_kernel(&mut self, frames: &[Vec<u8>]) -> Result<Verdict> {
        for frame in frames {
            self.run(frame)
                .with_context(|| format!("the kernel does not run on {frame:02x?}"))?;
        }
        let mut verdict = Verdict::default();
        let mut foreign = 0;
        while self.sensor.drain(|event| match event {
            Some(event) => verdict.events.push(Event::from(&event)),
            None => foreign += 1,
        }) {}
        ensure!(foreign == 0, "{foreign} records are no events");
        let losses = self.sensor.losses()?.map(|(_, count)| count);
        let classes = self.sensor.classes(TEST_RUN_IFINDEX, self.direction)?;
        for (index, count) in losses.into_iter().enumerate() {
            verdict.losses[index] = count - self.losses[index];
        }
        for (index, counters) in classes.into_iter().enumerate() {
            verdict.classes[index] = counters
                .since(self.classes[index])
                .context("counters never go back")?;
        }
        (self.losses, self.classes) = (losses, classes);
        Ok(verdict)
    }

    /// What the slice reader says.
    fn of_the_slices(&self, frames: &[Vec<u8>]) -> Verdict {
        let mut verdict = Verdict::default();
        for frame in frames {
            let (class, found) = read(frame, &self.ports);
            verdict.classes[class as usize] += counters(frame, self.buffer);
            match found {
                Ok(None) => {}
                Ok(Some((kind, datagram))) => {
                    let event = Event::expected(frame, kind, &datagram, self.direction);
                    verdict.events.push(event);
                }
                Err(loss) => verdict.losses[loss as usize] += 1,
            }
        }
        verdict
    }
}

/// What a buffer counts, by the definition in docs/counting.md.
fn counters(frame: &[u8], buffer: TestBuffer) -> Counters {
    let reader = Slice(frame);
    let headers = Link::parse(&reader, None).and_then(|link| headers_length(&reader, link));
    let headers = headers.ok().flatten().unwrap_or(0) as u64;
    let bytes = frame.len() as u64;
    let segments = match (buffer.segments, buffer.segment_bytes) {
        (0, 0) => 1,
        (0, size) => bytes.saturating_sub(headers).div_ceil(size.into()).max(1),
        (segments, _) => segments.into(),
    };
    Counters::from_words([1, bytes, segments, bytes + (segments - 1) * headers])
}

/// What must become of a frame, by the slice reader.
pub fn fate(frame: &[u8], ports: &NtpPorts) -> (Class, Fate) {
    let (class, found) = read(frame, ports);
    let fate = match found {
        Ok(None) => Fate::Ordinary,
        Ok(Some(_)) => Fate::Event,
        Err(loss) => Fate::Lost(loss),
    };
    (class, fate)
}

/// A datagram of NTP, or an ICMP error about one.
type Found = Option<(EventKind, Datagram)>;

fn read(frame: &[u8], ports: &NtpPorts) -> (Class, Result<Found, Loss>) {
    let reader = Slice(frame);
    let link = Link::parse(&reader, None);
    let ip = link.and_then(|link| IpHeader::parse(&reader, &link));
    let class = Class::of(&link, &ip);
    if ports.is_empty() {
        return (class, Ok(None));
    }
    let found = link.and_then(|link| {
        if let Some(datagram) = udp_on_port(&reader, link, ports)? {
            return Ok(Some((EventKind::Datagram, datagram)));
        }
        let Some(ip) = ip? else { return Ok(None) };
        let refused = Datagram::refused_on_port(&reader, &link, &ip, ports)?;
        Ok(refused.map(|refused| (EventKind::Refusal, refused)))
    });
    (class, found)
}

/// The kernel refuses to run a program on a frame without a whole IP header; shorter ones are the
/// slice reader's tests alone.
pub fn least_length(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 14,
    }
}

impl Event {
    fn expected(frame: &[u8], kind: EventKind, datagram: &Datagram, direction: Direction) -> Self {
        let held = frame.get(datagram.payload_offset..).unwrap_or_default();
        let captured = held
            .len()
            .min(usize::from(datagram.payload_length))
            .min(MAX_PAYLOAD);
        let addresses = match datagram.addresses {
            Addresses::V4(a, b) => {
                [a, b].map(|octets| std::net::Ipv4Addr::from(octets).to_string())
            }
            Addresses::V6(a, b) => {
                [a, b].map(|octets| std::net::Ipv6Addr::from(octets).to_string())
            }
        };
        Self {
            kind,
            addresses,
            ports: [datagram.source_port, datagram.destination_port],
            vlans: datagram.vlans,
            ttl: datagram.ttl,
            frame_length: frame.len() as u32,
            payload_length: datagram.payload_length,
            payload: held[..captured].to_vec(),
            direction,
        }
    }
}

impl From<&NtpEvent> for Event {
    fn from(event: &NtpEvent) -> Self {
        Self {
            kind: event.kind(),
            addresses: [event.source(), event.destination()].map(|address| address.to_string()),
            ports: [event.source_port, event.destination_port],
            vlans: [event.vlan, event.inner_vlan],
            ttl: event.ttl,
            frame_length: event.frame_length,
            payload_length: event.payload_length,
            payload: event.payload().to_vec(),
            direction: event.direction(),
        }
    }
}
