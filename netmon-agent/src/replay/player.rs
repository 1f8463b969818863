//! From frames to records.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    time::Duration,
};

use netmon_common::{
    counters::{Class, Counters, Direction},
    event::{EventKind, NtpEvent},
    flow::{FlowTable, Untracked},
    loss::Loss,
    ntp::NtpPorts,
    packet::Slice,
};

use super::{
    ReplayError,
    capture::{CaptureLosses, Frame},
    interfaces::Interfaces,
    kernel::Kernel,
    link::{Ethernet, NoFrame},
    output::Output,
    record::{CountersRecord, ExchangeRecord, FlowRecord, LossesRecord, PacketRecord, Record},
    sight::Sight,
};
use crate::{
    clock::TaiOffset,
    ntp::{Found, Limits, Observer, Packet, Place, Unpaired, Vantage},
};

/// How long a request waits, as the agent's default.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most requests remembered at a time.
const MAX_PENDING: usize = 65_536;
/// Most pairs of client and server with running figures, as the agent's default.
const MAX_ASSOCIATIONS: usize = 16_384;
/// Tunnels within tunnels are followed no further.
const MAX_TUNNELS: usize = 4;
/// Most flows at a time: when there are as many, all are written, and those that go on begin anew.
const MAX_FLOWS: usize = 65_536;

/// Plays frames one after the other, on the clock of their capture.
pub(super) struct Player<W: Write> {
    /// Without it the slice reader reads.
    kernel: Option<Kernel>,
    /// The interface whose frames the kernel has counted since it was last asked.
    counting: Option<usize>,
    output: Output<W>,
    ntp_packets: bool,
    ports: NtpPorts,
    interfaces: Interfaces,
    flows: FlowTable,
    observer: Observer,
    latest_ns: i64,
    /// A packet came without a time: how long anything took is not known from there on.
    is_timeless: bool,
    losses: BTreeMap<Cow<'static, str>, u64>,
    unsupported: BTreeSet<u16>,
    /// For frames that are not Ethernet.
    room: Vec<u8>,
}

impl<W: Write> Player<W> {
    pub(super) fn new(
        kernel: Option<Kernel>,
        output: Output<W>,
        ntp_packets: bool,
        ports: NtpPorts,
        vantage: Option<Vantage>,
    ) -> Self {
        let limits = Limits {
            timeout: TIMEOUT,
            max_pending: MAX_PENDING,
            max_associations: MAX_ASSOCIATIONS,
        };
        // Requests from before the capture are nobody's fault: what answers them is unsolicited.
        let mut observer = Observer::new(limits, 0);
        observer.set_place(vantage.map_or(Place::Unknown, Place::Told));
        // A capture's clock is taken as it is.
        observer.set_synchronised(true);
        Self {
            kernel,
            counting: None,
            output,
            ntp_packets,
            ports,
            interfaces: Interfaces::default(),
            flows: FlowTable::new(MAX_FLOWS),
            observer,
            latest_ns: 0,
            is_timeless: false,
            losses: BTreeMap::new(),
            unsupported: BTreeSet::new(),
            room: Vec::new(),
        }
    }

    /// Plays a frame.
    pub(super) fn frame(
        &mut self,
        file: Option<&String>,
        frame: &Frame<'_>,
    ) -> Result<(), ReplayError> {
        self.is_timeless |= frame.time_ns.is_none();
        self.latest_ns = frame.time_ns.unwrap_or(self.latest_ns);
        let mut room = std::mem::take(&mut self.room);
        let played = match Ethernet::of(frame.link_type, frame.data, &mut room) {
            Ok(ethernet) => self.ethernet(file, frame, &ethernet),
            Err(NoFrame::UnsupportedLink) => {
                self.unsupported.insert(frame.link_type);
                self.lose_one("unsupported_link", 1);
                Ok(())
            }
            Err(NoFrame::Lost(loss)) => {
                let interface = self.interfaces.number(frame.interface.as_ref());
                let passed = passed(frame);
                let way = frame.direction.unwrap_or(Direction::Ingress);
                self.interfaces.add(interface, way, Class::NotIp, passed);
                self.flows.untracked(Untracked::Unparsed, passed);
                self.lose_one(loss.name(), 1);
                Ok(())
            }
        };
        self.room = room;
        played
    }

    fn ethernet(
        &mut self,
        file: Option<&String>,
        frame: &Frame<'_>,
        ethernet: &Ethernet<'_>,
    ) -> Result<(), ReplayError> {
        let interface = self.interfaces.number(frame.interface.as_ref());
        let way = frame.direction.or(ethernet.direction);
        let way = way.unwrap_or(Direction::Ingress);
        let sight = Sight::of(ethernet.octets, self.ports);
        let at_ns = nanoseconds(self.latest_ns);
        let reader = Slice(ethernet.octets);
        self.flows.frame(
            &reader,
            &sight.packet(),
            interface as u32,
            passed(frame),
            at_ns,
        );
        if self.flows.len() >= MAX_FLOWS {
            self.write_flows()?;
        }
        let event = if self.kernel.is_some() && runs(ethernet.octets, &sight, self.ports) {
            self.run(interface, way, frame, ethernet.octets, sight.class())?
        } else {
            let class = sight.class();
            self.interfaces.add(interface, way, class, passed(frame));
            match sight.found() {
                Ok(found) => found.map(|found| sight.event(&found, interface as u32, way)),
                Err(loss) => {
                    self.lose_one(loss.name(), 1);
                    None
                }
            }
        };
        let Some(event) = event else {
            return self.inside_of_tunnel(file, frame, interface, way, &sight);
        };
        // The event carries the first octets of the payload; here is all of it.
        let found = sight.found().ok().flatten();
        let payload = found.map_or(event.payload(), |(_, found)| sight.payload(&found));
        self.event(file, frame, interface, &event, payload)
    }

    /// NTP that a tunnel's packet carries: counted as the tunnel's, and paired as what it is.
    fn inside_of_tunnel(
        &mut self,
        file: Option<&String>,
        frame: &Frame<'_>,
        interface: usize,
        way: Direction,
        outer: &Sight<'_>,
    ) -> Result<(), ReplayError> {
        let mut carried = outer.inner();
        for _ in 0..MAX_TUNNELS {
            let Some(octets) = carried else { break };
            let sight = Sight::of(&octets, self.ports);
            if let Ok(Some(datagram)) = sight.datagram() {
                let found = (EventKind::Datagram, datagram);
                let event = sight.event(&found, interface as u32, way);
                return self.event(file, frame, interface, &event, sight.payload(&datagram));
            }
            carried = sight.inner();
        }
        Ok(())
    }

    /// A frame through the kernel. What its counters cannot know is how long the frame was before
    /// it was cut, and what its link layer was.
    fn run(
        &mut self,
        interface: usize,
        way: Direction,
        frame: &Frame<'_>,
        octets: &[u8],
        class: Class,
    ) -> Result<Option<NtpEvent>, ReplayError> {
        if self.counting.is_some_and(|counting| counting != interface) {
            self.settle()?;
        }
        self.counting = Some(interface);
        let octets = Kernel::runnable(octets);
        let bytes = u64::from(frame.length).wrapping_sub(octets.len() as u64);
        let missing = Counters::from_words([0, bytes, 0, bytes]);
        self.interfaces.add(interface, way, class, missing);
        match &mut self.kernel {
            Some(kernel) => Ok(kernel.run(octets, way)?),
            None => Ok(None),
        }
    }

    /// Takes over what the kernel has counted.
    fn settle(&mut self) -> Result<(), ReplayError> {
        if let (Some(kernel), Some(interface)) = (&mut self.kernel, self.counting.take()) {
            self.interfaces.add_all(interface, kernel.counted()?);
        }
        Ok(())
    }

    fn event(
        &mut self,
        file: Option<&String>,
        frame: &Frame<'_>,
        interface: usize,
        event: &NtpEvent,
        payload: &[u8],
    ) -> Result<(), ReplayError> {
        if self.ntp_packets && event.kind() == EventKind::Datagram {
            let name = self.interfaces.name(interface);
            let file = file.map(String::as_str);
            let packet = PacketRecord::new(file, frame, name, event, payload);
            self.output.write(&Record::Packet(packet))?;
        }
        let at_ns = nanoseconds(self.latest_ns);
        let event = NtpEvent {
            captured_at_ns: at_ns,
            captured_at_tai_ns: at_ns,
            received_at_unix_ns: 0,
            ifindex: interface as u32,
            ..event.clone()
        };
        let mut packet = match Packet::decode(&event, TaiOffset::NONE, &self.ports) {
            Ok(packet) => packet,
            Err(cause) => {
                self.lose_one(not_paired(cause), 1);
                return Ok(());
            }
        };
        packet.frame = frame.number;
        let mut found = Vec::new();
        self.observer.observe(packet, &mut |new| found.push(new));
        self.exchanges(&found)
    }

    fn exchanges(&mut self, found: &[Found]) -> Result<(), ReplayError> {
        for found in found {
            let mut record = ExchangeRecord::from(found);
            if self.is_timeless {
                record = record.without_times();
            }
            self.output.write(&Record::Exchange(record))?;
        }
        Ok(())
    }

    /// Hands over what has been written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Link types that nobody could read since the last call.
    pub(super) fn take_unsupported(&mut self) -> BTreeSet<u16> {
        std::mem::take(&mut self.unsupported)
    }

    /// What the reading of a capture has lost.
    pub(super) fn lose(&mut self, losses: CaptureLosses) {
        self.lose_one("file_cut", losses.cut);
        self.lose_one("file_damaged", losses.damaged);
        self.lose_one("unknown_interface", losses.unknown_interface);
        self.lose_one("malformed_record", losses.malformed_record);
    }

    fn lose_one(&mut self, cause: &'static str, count: u64) {
        *self.losses.entry(cause.into()).or_default() += count;
    }

    /// Writes what is left, and the sums.
    pub(super) fn finish(mut self) -> Result<(), ReplayError> {
        self.settle()?;
        let mut found = Vec::new();
        let end_ns = nanoseconds(self.latest_ns);
        self.observer.expire(end_ns, &mut |new| found.push(new));
        self.observer.stop(&mut |new| found.push(new));
        self.exchanges(&found)?;
        self.write_flows()?;
        for (interface, way, total, split) in self.interfaces.counters() {
            let record = CountersRecord::new(interface, way, total, split);
            self.output.write(&Record::Counters(record))?;
        }
        self.sum_up_losses()?;
        let losses = LossesRecord(std::mem::take(&mut self.losses));
        self.output.write(&Record::Losses(losses))?;
        self.output.flush()?;
        Ok(())
    }

    fn write_flows(&mut self) -> Result<(), ReplayError> {
        for flow in self.flows.take() {
            let interface = self.interfaces.name(flow.key.ifindex() as usize);
            let record = FlowRecord::new(interface, &flow);
            self.output.write(&Record::Flow(record))?;
        }
        Ok(())
    }

    fn sum_up_losses(&mut self) -> Result<(), ReplayError> {
        self.lose_one("unsupported_link", 0);
        for loss in Loss::ALL {
            self.lose_one(loss.name(), 0);
        }
        if let Some(kernel) = &self.kernel {
            for (loss, count) in kernel.losses()? {
                self.lose_one(loss.name(), count);
            }
        }
        let untracked = self.flows.untracked_total();
        for (cause, name) in [
            (Untracked::NotIp, "no_flow_not_ip"),
            (Untracked::Unparsed, "no_flow_unparsed"),
            (Untracked::MapFull, "no_flow_table_full"),
        ] {
            self.lose_one(name, untracked.of(cause).packets);
        }
        for cause in [
            Unpaired::TooShort,
            Unpaired::UnknownVersion,
            Unpaired::Reserved,
            Unpaired::MalformedQuotation,
        ] {
            self.lose_one(not_paired(cause), 0);
        }
        let tally = self.observer.tally();
        self.lose_one("request_prefix_full", tally.prefix_full);
        self.lose_one("request_path_full", tally.path_full);
        self.lose_one("request_evicted", tally.evicted);
        self.lose_one("response_not_paired", tally.unpaired_responses);
        self.lose_one("refusal_not_paired", tally.unpaired_refusals);
        Ok(())
    }
}

/// What the losses call a packet of NTP that takes no part in pairing.
fn not_paired(cause: Unpaired) -> &'static str {
    match cause {
        Unpaired::TooShort => "ntp_too_short",
        Unpaired::UnknownVersion => "ntp_unknown_version",
        Unpaired::Reserved => "ntp_reserved",
        Unpaired::MalformedQuotation => "ntp_malformed_quotation",
        Unpaired::DuplicateCapture => "ntp_duplicate_capture",
    }
}

/// Whether a frame can go through the kernel: it may have to be cut for it, and then must still be
/// the same packet.
fn runs(octets: &[u8], sight: &Sight<'_>, ports: NtpPorts) -> bool {
    let run = Kernel::runnable(octets);
    let is_same = || {
        let cut = Sight::of(run, ports);
        cut.packet() == sight.packet() && cut.found() == sight.found()
    };
    Kernel::takes(octets) && (run.len() == octets.len() || is_same())
}

/// What a frame counts.
fn passed(frame: &Frame<'_>) -> Counters {
    let bytes = u64::from(frame.length);
    Counters::from_words([1, bytes, 1, bytes])
}

/// A capture's time on the agent's clock, which knows nothing before 1970.
fn nanoseconds(unix_ns: i64) -> u64 {
    u64::try_from(unix_ns).unwrap_or(0)
}
