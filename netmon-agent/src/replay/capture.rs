//! Capture files: pcap and pcapng, read as a stream with bounded memory.
//!
//! Of the crates there are, pcap-file 2.0 never gets past a record longer than the header's snap length,
//! and pcap-parser leaves interfaces, byte orders and times of pcapng to its caller and needs a
//! buffer for the longest block: what is left to write is what stands here. Whatever the octets are,
//! reading ends: in frames, in losses by cause, and in at most one [`Damage`] at the end.

mod order;
mod pcap;
mod pcapng;
mod source;

use std::{io::Read, sync::Arc};

use netmon_common::counters::Direction;

use self::{
    pcap::Pcap,
    pcapng::{Found, PcapNg},
    source::Source,
};

/// Most octets of a frame that are kept: what tcpdump and Wireshark capture at most.
pub const MAX_FRAME: usize = 262_144;
/// A record or block that says to be longer is damage, not a frame.
const MAX_RECORD: u32 = 128 << 20;

/// A frame as the capture has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number in its file, from 1.
    pub number: u64,
    /// When it was captured, ns since 1970; absent in simple packets of pcapng.
    pub time_ns: Option<i64>,
    /// The interface's name, or its number where it has none; absent in pcap.
    pub interface: Option<Arc<str>>,
    /// What it starts with: a number of <https://www.tcpdump.org/linktypes.html>.
    pub link_type: u16,
    /// How many octets were captured.
    pub captured: u32,
    /// How many octets the frame had.
    pub length: u32,
    /// Which way it went, where the file says so.
    pub direction: Option<Direction>,
    /// What was captured, at most [`MAX_FRAME`] octets.
    pub data: &'a [u8],
}

/// What stands before a frame's data.
#[derive(Debug)]
struct Record {
    time_ns: Option<i64>,
    interface: Option<Arc<str>>,
    link_type: u16,
    captured: u32,
    length: u32,
    direction: Option<Direction>,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing in it.
    #[error("the file is empty; was the capture stopped before its first packet?")]
    Empty,
    /// Another format.
    #[error(
        "the file is neither pcap nor pcapng; `file` may say what it is, and `editcap FILE OUT.pcapng` \
         converts many formats"
    )]
    NotACapture,
    /// The file ends before its first packet could come.
    #[error("the file ends within its header; copy it again, or capture again")]
    HeaderCut,
    /// A version nobody has seen.
    #[error("{0} version {1} is not known; `editcap FILE OUT.pcapng` may convert it")]
    Version(&'static str, u16),
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// What ended the reading before the file's end.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The file ends within a record.
    #[error("the file ends within this frame; it is counted as a loss")]
    Cut,
    /// No frame is that long.
    #[error("the record claims {0} octets; `pcapfix` may repair the file")]
    RecordLength(u32),
    /// Lengths before and behind a block differ, or make no sense.
    #[error("the lengths of a block contradict each other; `pcapfix` may repair the file")]
    BlockLength,
    /// A section that says neither byte order.
    #[error("a section does not say its byte order; `pcapfix` may repair the file")]
    ByteOrder,
    /// A section of another version.
    #[error("a section is of pcapng version {0}, which is not known")]
    Version(u16),
    /// More interfaces than any host has.
    #[error("a section describes more than 65536 interfaces; `pcapfix` may repair the file")]
    Interfaces,
    /// The operating system or the decompression refused.
    #[error("cannot read further: {0}; copy the file again")]
    Unreadable(std::io::Error),
}

/// Why a record gave no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordLoss {
    UnknownInterface,
    Malformed,
}

/// Records that gave no frame, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureLosses {
    /// The last record, within which the file ends.
    pub cut: u64,
    /// The record that cannot be read, with everything behind it.
    pub damaged: u64,
    /// Packets of an interface that the file does not describe.
    pub unknown_interface: u64,
    /// Packets that do not fit into their blocks.
    pub malformed_record: u64,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// A capture being read.
pub struct Capture<R> {
    source: Source<R>,
    format: Format,
    data: Vec<u8>,
    number: u64,
    losses: CaptureLosses,
    damage: Option<Damage>,
}

impl<R: Read> Capture<R> {
    /// Reads the file's header. `reader` should be buffered.
    ///
    /// # Errors
    ///
    /// [`OpenError`] with the remedy.
    pub fn open(reader: R) -> Result<Self, OpenError> {
        let mut source = Source(reader);
        let mut magic = [0; 4];
        match source.read(&mut magic) {
            Ok(true) => {}
            Ok(false) => return Err(OpenError::Empty),
            Err(Damage::Unreadable(error)) => return Err(OpenError::Read(error)),
            Err(_) => return Err(OpenError::NotACapture),
        }
        let format = if magic == pcapng::MAGIC {
            Format::PcapNg(PcapNg::open(&mut source)?)
        } else if Pcap::recognises(magic) {
            Format::Pcap(Pcap::open(magic, &mut source)?)
        } else {
            return Err(OpenError::NotACapture);
        };
        Ok(Self {
            source,
            format,
            data: Vec::new(),
            number: 0,
            losses: CaptureLosses::default(),
            damage: None,
        })
    }

    /// The next frame. `None`: the file is over, or what is left of it cannot be read, which
    /// [`damage`](Self::damage) says.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        while self.damage.is_none() {
            let found = match &mut self.format {
                Format::Pcap(pcap) => pcap
                    .next(&mut self.source, &mut self.data)
                    .map(|record| record.map(Found::Record)),
                Format::PcapNg(pcapng) => pcapng.next(&mut self.source, &mut self.data),
            };
            match found {
                Ok(None) => return None,
                Ok(Some(Found::Record(record))) => {
                    self.number += 1;
                    return Some(record.frame(self.number, &self.data));
                }
                Ok(Some(Found::Lost(loss))) => {
                    self.number += 1;
                    match loss {
                        RecordLoss::UnknownInterface => self.losses.unknown_interface += 1,
                        RecordLoss::Malformed => self.losses.malformed_record += 1,
                    }
                }
                Err(damage) => {
                    match damage {
                        Damage::Cut => self.losses.cut += 1,
                        _ => self.losses.damaged += 1,
                    }
                    self.damage = Some(damage);
                }
            }
        }
        None
    }

    /// What ended the reading, and the number of the frame that was to come.
    pub fn damage(&self) -> Option<(u64, &Damage)> {
        self.damage.as_ref().map(|damage| (self.number + 1, damage))
    }

    /// Records that gave no frame so far.
    pub fn losses(&self) -> CaptureLosses {
        self.losses
    }
}

impl Record {
    fn frame(self, number: u64, data: &[u8]) -> Frame<'_> {
        Frame {
            number,
            time_ns: self.time_ns,
            interface: self.interface,
            link_type: self.link_type,
            captured: self.captured,
            // Some writers leave it 0.
            length: self.length.max(self.captured),
            direction: self.direction,
            data,
        }
    }
}

/// Reads a frame's octets, of which those beyond [`MAX_FRAME`] are left out.
fn read_data<R: Read>(
    source: &mut Source<R>,
    data: &mut Vec<u8>,
    captured: u32,
) -> Result<(), Damage> {
    let kept = MAX_FRAME.min(captured as usize);
    data.resize(kept, 0);
    source.read_all(data)?;
    source.skip(u64::from(captured) - kept as u64)
}
