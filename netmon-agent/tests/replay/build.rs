//! Captures and packets, octet by octet.

pub use netmon_lab::frames::udp;

/// Numbers as a machine of one kind or the other writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub fn u16(self, number: u16) -> [u8; 2] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    pub fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// A pcap file; records are seconds, fraction, frame length and data.
pub fn pcap(
    order: Order,
    magic: u32,
    link_type: u32,
    records: &[(u32, u32, u32, &[u8])],
) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    for word in [0, 0, 65_535, link_type] {
        file.extend(order.u32(word));
    }
    for (seconds, fraction, length, data) in records {
        for word in [*seconds, *fraction, data.len() as u32, *length] {
            file.extend(order.u32(word));
        }
        file.extend(*data);
    }
    file
}

pub const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// The usual kind of pcap file: whole frames, one a second.
pub fn frames(link_type: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(n, frame)| (1_700_000_000 + n as u32, 0, frame.len() as u32, &frame[..]))
        .collect();
    pcap(Order::Little, MICROSECONDS, link_type, &records)
}

/// A pcapng file, block by block.
pub struct PcapNg {
    order: Order,
    pub octets: Vec<u8>,
}

impl PcapNg {
    pub fn new(order: Order) -> Self {
        let mut file = Self {
            order,
            octets: Vec::new(),
        };
        file.section(order);
        file
    }

    pub fn section(&mut self, order: Order) -> &mut Self {
        self.order = order;
        let body = [
            order.u32(0x1a2b_3c4d).to_vec(),
            order.u16(1).to_vec(),
            order.u16(0).to_vec(),
            vec![0xff; 8],
        ];
        self.block(0x0a0d_0d0a, &body.concat())
    }

    pub fn interface(
        &mut self,
        link_type: u16,
        snap_length: u32,
        options: &[(u16, &[u8])],
    ) -> &mut Self {
        let order = self.order;
        let body = [
            order.u16(link_type).to_vec(),
            vec![0; 2],
            order.u32(snap_length).to_vec(),
            self.options(options),
        ];
        self.block(1, &body.concat())
    }

    pub fn enhanced(
        &mut self,
        interface: u32,
        ticks: u64,
        data: &[u8],
        options: &[(u16, &[u8])],
    ) -> &mut Self {
        let mut body = Vec::new();
        let length = data.len() as u32;
        for word in [
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            length,
            length,
        ] {
            body.extend(self.order.u32(word));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.options(options));
        self.block(6, &body)
    }

    pub fn obsolete(&mut self, interface: u16, ticks: u64, data: &[u8]) -> &mut Self {
        let mut body = [self.order.u16(interface), self.order.u16(0)].concat();
        let length = data.len() as u32;
        for word in [(ticks >> 32) as u32, ticks as u32, length, length] {
            body.extend(self.order.u32(word));
        }
        body.extend(data);
        self.block(2, &body)
    }

    pub fn simple(&mut self, length: u32, data: &[u8]) -> &mut Self {
        let body = [&self.order.u32(length)[..], data].concat();
        self.block(3, &body)
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padded = body.len().next_multiple_of(4);
        let length = self.order.u32(padded as u32 + 12);
        self.octets.extend(self.order.u32(kind));
        self.octets.extend(length);
        self.octets.extend(body);
        self.octets
            .resize(self.octets.len() + padded - body.len(), 0);
        self.octets.extend(length);
        self
    }

    fn options(&self, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut octets = Vec::new();
        for (code, value) in options {
            octets.extend(self.order.u16(*code));
            octets.extend(self.order.u16(value.len() as u16));
            octets.extend(*value);
            octets.resize(octets.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            octets.extend([0; 4]);
        }
        octets
    }
}

pub fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    netmon_lab::frames::ethernet(&[], ethertype, packet)
}

/// A tag of 802.1Q in front of what follows.
pub fn tagged(vlan: u16, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes()[..], &ethertype.to_be_bytes(), packet].concat()
}

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    netmon_lab::frames::ipv4(protocol, 0, 0, payload)
}

pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    netmon_lab::frames::ipv6(&[], next_header, payload)
}

pub fn tcp(source: u16, destination: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    netmon_lab::frames::tcp(source, destination, flags, 0, payload)
}

/// An NTP request of version 4 with this transmit timestamp.
pub fn request(transmit: u64) -> Vec<u8> {
    let mut payload = vec![0; 48];
    payload[0] = 0x23;
    payload[3] = 0x20;
    payload[40..].copy_from_slice(&transmit.to_be_bytes());
    payload
}

/// The answer of a server of stratum 2, whose clock is at `receive`.
pub fn response(origin: u64, receive: u64) -> Vec<u8> {
    let mut payload = vec![0; 48];
    (payload[0], payload[1], payload[3]) = (0x24, 2, 0xe9);
    payload[4..8].copy_from_slice(&145_u32.to_be_bytes());
    payload[12..16].copy_from_slice(&[127, 127, 1, 1]);
    payload[24..32].copy_from_slice(&origin.to_be_bytes());
    payload[32..40].copy_from_slice(&receive.to_be_bytes());
    payload[40..].copy_from_slice(&(receive + 4096).to_be_bytes());
    payload
}

/// A request over UDP and IPv4.
pub fn request_packet(transmit: u64) -> Vec<u8> {
    ipv4(17, &udp(40_000, 123, &request(transmit)))
}
