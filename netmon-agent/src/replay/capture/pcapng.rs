//! pcapng (draft-ietf-opsawg-pcapng): sections, each with a byte order and interfaces of its own.

mod block;
mod clock;

use std::{io::Read, sync::Arc};

use netmon_common::counters::Direction;

use self::{block::Block, clock::Clock};
use super::{Damage, OpenError, Record, RecordLoss, order::Order, read_data, source::Source};

/// The first four octets of a file: the type of a section header, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = SECTION_HEADER.to_be_bytes();

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
/// What older programs wrote instead of enhanced packets.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const NAME: u16 = 2;
const PACKET_FLAGS: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const TIME_OFFSET: u16 = 14;

/// Most interfaces of a section: more are damage.
const MAX_INTERFACES: usize = 1 << 16;
/// Most octets kept of an interface's name.
const MAX_NAME: usize = 64;

/// Where the reader is.
#[derive(Debug)]
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
}

#[derive(Debug)]
struct Interface {
    name: Arc<str>,
    link_type: u16,
    /// 0 = no limit.
    snap_length: u32,
    clock: Clock,
}

/// What a packet block was good for.
pub(super) enum Found {
    Record(Record),
    Lost(RecordLoss),
}

impl PcapNg {
    /// Reads the first section's header, whose first four octets were [`MAGIC`].
    pub(super) fn open<R: Read>(source: &mut Source<R>) -> Result<Self, OpenError> {
        let mut pcapng = Self {
            order: Order::Little,
            interfaces: Vec::new(),
        };
        let length = source.take().map_err(|_| OpenError::HeaderCut)?;
        match pcapng.section(length, source) {
            Ok(()) => Ok(pcapng),
            Err(Damage::Version(version)) => Err(OpenError::Version("pcapng", version)),
            Err(Damage::Cut) => Err(OpenError::HeaderCut),
            Err(_) => Err(OpenError::NotACapture),
        }
    }

    /// The next packet; `None`: the file is over.
    pub(super) fn next<R: Read>(
        &mut self,
        source: &mut Source<R>,
        data: &mut Vec<u8>,
    ) -> Result<Option<Found>, Damage> {
        loop {
            let mut head = [0; 8];
            if !source.read(&mut head)? {
                return Ok(None);
            }
            let [a, b, c, d, length @ ..] = head;
            let kind = self.order.u32([a, b, c, d]);
            if kind == SECTION_HEADER {
                self.section(length, source)?;
                continue;
            }
            let mut block = Block::new(source, self.order, self.order.u32(length))?;
            let found = match kind {
                INTERFACE_DESCRIPTION => {
                    self.describe(&mut block)?;
                    None
                }
                ENHANCED_PACKET | PACKET => Some(self.packet(kind, &mut block, data)?),
                SIMPLE_PACKET => Some(self.simple(&mut block, data)?),
                // Names, statistics, secrets, and whatever comes to be: none of it is a packet.
                _ => None,
            };
            block.finish()?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// A section starts: its byte order is its own, and interfaces count from 0 again.
    fn section<R: Read>(&mut self, length: [u8; 4], source: &mut Source<R>) -> Result<(), Damage> {
        let magic: [u8; 4] = source.take()?;
        let orders = [Order::Little, Order::Big];
        self.order = orders
            .into_iter()
            .find(|order| order.u32(magic) == BYTE_ORDER)
            .ok_or(Damage::ByteOrder)?;
        self.interfaces.clear();
        let mut block = Block::new(source, self.order, self.order.u32(length))?;
        block.account_for(magic.len() as u32)?;
        let version: [u8; 2] = block.take()?.ok_or(Damage::BlockLength)?;
        match self.order.u16(version) {
            1 => block.finish(),
            other => Err(Damage::Version(other)),
        }
    }

    fn describe<R: Read>(&mut self, block: &mut Block<'_, R>) -> Result<(), Damage> {
        let order = self.order;
        let header: [u8; 8] = block.take()?.ok_or(Damage::BlockLength)?;
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Damage::Interfaces);
        }
        let mut interface = Interface {
            name: self.interfaces.len().to_string().into(),
            link_type: order.half(&header, 0),
            snap_length: order.word(&header, 4),
            clock: Clock::default(),
        };
        while let Some((code, value)) = block.option()? {
            match (code, value.as_slice()) {
                (NAME, name) if !name.is_empty() => {
                    let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
                    interface.name = name.trim_end_matches('\0').into();
                }
                (TIME_RESOLUTION, [resolution, ..]) => interface.clock.set_resolution(*resolution),
                (TIME_OFFSET, value) => {
                    if let Some(octets) = value.first_chunk() {
                        interface.clock.offset_s = order.u64(*octets) as i64;
                    }
                }
                _ => {}
            }
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The older block has 16 bits for the interface, and then a count of drops.
    fn packet<R: Read>(
        &self,
        kind: u32,
        block: &mut Block<'_, R>,
        data: &mut Vec<u8>,
    ) -> Result<Found, Damage> {
        let Some(header) = block.take::<20>()? else {
            return Ok(Found::Lost(RecordLoss::Malformed));
        };
        let word = |at| self.order.word(&header, at);
        let interface = match kind {
            PACKET => self.order.half(&header, 0).into(),
            _ => word(0),
        };
        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
        let (captured, length) = (word(12), word(16));
        let Some(interface) = self.interfaces.get(interface as usize) else {
            return Ok(Found::Lost(RecordLoss::UnknownInterface));
        };
        if !block.read_data(data, captured)? {
            return Ok(Found::Lost(RecordLoss::Malformed));
        }
        let mut direction = None;
        while let Some((code, value)) = block.option()? {
            if let (PACKET_FLAGS, Some(octets)) = (code, value.first_chunk()) {
                direction = match self.order.u32(*octets) & 3 {
                    1 => Some(Direction::Ingress),
                    2 => Some(Direction::Egress),
                    _ => None,
                };
            }
        }
        Ok(Found::Record(Record {
            time_ns: interface.clock.unix_ns(ticks),
            interface: Some(interface.name.clone()),
            link_type: interface.link_type,
            captured,
            length,
            direction,
        }))
    }

    /// A simple packet belongs to the first interface, has no time, and says only how long the
    /// frame was.
    fn simple<R: Read>(
        &self,
        block: &mut Block<'_, R>,
        data: &mut Vec<u8>,
    ) -> Result<Found, Damage> {
        let Some(length) = block.take()?.map(|octets| self.order.u32(octets)) else {
            return Ok(Found::Lost(RecordLoss::Malformed));
        };
        let Some(interface) = self.interfaces.first() else {
            return Ok(Found::Lost(RecordLoss::UnknownInterface));
        };
        let captured = match interface.snap_length {
            0 => length,
            limit => length.min(limit),
        };
        if !block.read_data(data, captured)? {
            return Ok(Found::Lost(RecordLoss::Malformed));
        }
        Ok(Found::Record(Record {
            time_ns: None,
            interface: Some(interface.name.clone()),
            link_type: interface.link_type,
            captured,
            length,
            direction: None,
        }))
    }
}

impl<R: Read> Block<'_, R> {
    /// The packet and its padding. `false`: the block is too short for it.
    fn read_data(&mut self, data: &mut Vec<u8>, captured: u32) -> Result<bool, Damage> {
        let padded = u64::from(captured).next_multiple_of(4);
        if u64::from(captured) > u64::from(self.remaining()) {
            return Ok(false);
        }
        let padding = padded.min(self.remaining().into()) as u32 - captured;
        read_data(self.source(), data, captured)?;
        self.account_for(captured)?;
        self.skip(padding)?;
        Ok(true)
    }
}
