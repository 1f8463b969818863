//! Queueing disciplines and filters by rtnetlink: what tc(8) does, as far as the sensor needs it.
//!
//! The BPF library attaches classic filters too, but names all of them alike, lets the kernel give
//! them the small handles that other programs choose, and removes by number what may be somebody
//! else's by then.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};
use netmon_common::counters::Direction;
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
        NetlinkMessage, NlaBuffer, NlasIterator,
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// The kind of qdisc that has filters in both directions.
pub(super) const CLSACT: &str = "clsact";
/// The kind of our filters.
pub(super) const BPF: &str = "bpf";
/// The EtherType of filters that see every packet, as a filter's message has it.
pub(super) const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Message types of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Messages of a datagram start at multiples of this.
const NLMSG_ALIGNTO: usize = 4;
/// Attributes of linux/rtnetlink.h and linux/pkt_cls.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_NAME: u16 = 7;
/// Of the messages of this module: `struct tcmsg`.
const HEADER_BYTES: usize = 20;
/// The qdisc's own handle; a clsact qdisc has no other.
const CLSACT_HANDLE: TcHandle = TcHandle {
    major: TcHandle::CLSACT.major,
    minor: 0,
};

/// A conversation with the kernel.
pub(super) struct TrafficControl {
    socket: Socket,
}

/// A filter at an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) direction: Direction,
    pub(super) chain: u32,
    pub(super) priority: u16,
    /// In network byte order.
    pub(super) protocol: u16,
    /// 0: the entry of the priority itself, which the filters of that priority follow.
    pub(super) handle: u32,
    pub(super) kind: String,
    /// Of a BPF filter.
    pub(super) name: Option<String>,
}

impl TrafficControl {
    /// In the process's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// The kind of the qdisc at the hook of clsact, if there is one.
    pub(super) fn qdisc(&self, ifindex: u32) -> io::Result<Option<String>> {
        let header = TcHeader {
            index: ifindex.cast_signed(),
            parent: TcHandle::CLSACT,
            ..TcHeader::default()
        };
        let message = TcMessage::from_parts(header, vec![]);
        let question = RouteNetlinkMessage::GetQueueDiscipline(message);
        // Without the echo, only listeners to the group are told.
        match self.ask(question, NLM_F_ACK | NLM_F_ECHO) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| text(answer, TCA_KIND))),
            // Never had one; had one once (qdisc_get_notify of net/sched/sch_api.c).
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The interfaces that have a clsact qdisc.
    pub(super) fn interfaces_with_clsact(&self) -> io::Result<Vec<u32>> {
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.ask(message, NLM_F_DUMP)?;
        let with_clsact = answers.iter().filter_map(|answer| {
            let header = TcHeader::parse(answer).ok()?;
            (text(answer, TCA_KIND)? == CLSACT).then_some(header.index.cast_unsigned())
        });
        Ok(with_clsact.collect())
    }

    /// Fails with `EEXIST` if there is one, or an ingress qdisc, which takes the same place.
    pub(super) fn add_clsact(&self, ifindex: u32) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewQueueDiscipline(clsact(ifindex));
        self.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)?;
        Ok(())
    }

    /// With everything that is in it.
    pub(super) fn delete_clsact(&self, ifindex: u32) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelQueueDiscipline(clsact(ifindex));
        self.ask(message, NLM_F_ACK)?;
        Ok(())
    }

    /// Everything in a clsact qdisc, both directions.
    pub(super) fn filters(&self, ifindex: u32) -> io::Result<Vec<Filter>> {
        let mut found = Vec::new();
        for direction in Direction::ALL {
            let header = TcHeader {
                index: ifindex.cast_signed(),
                parent: parent(direction),
                ..TcHeader::default()
            };
            let message = TcMessage::from_parts(header, vec![]);
            let answers = self.ask(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
            found.extend(
                answers
                    .iter()
                    .filter_map(|answer| filter(answer, direction)),
            );
        }
        Ok(found)
    }

    /// A BPF filter for every packet, in direct-action mode: the program's result is the verdict.
    /// Fails with `EEXIST` if the priority has one of this handle.
    pub(super) fn add(
        &self,
        ifindex: u32,
        filter: &Filter,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let name = filter.name.clone().unwrap_or_default();
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(name),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let mut message = message(ifindex, filter);
        let options = options.into_iter().map(TcOption::Bpf).collect();
        message.attributes.push(TcAttribute::Options(options));
        let message = RouteNetlinkMessage::NewTrafficFilter(message);
        self.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)?;
        Ok(())
    }

    /// This one and no other: its handle must not be 0.
    pub(super) fn delete(&self, ifindex: u32, filter: &Filter) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelTrafficFilter(message(ifindex, filter));
        self.ask(message, NLM_F_ACK)?;
        Ok(())
    }

    /// The messages of the answer, without their headers.
    fn ask(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Vec<u8>>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.finalize();
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while let Ok(answer) = NetlinkBuffer::new_checked(rest) {
                match answer.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => return outcome(answer.payload()).map(|()| answers),
                    _ => answers.push(answer.payload().to_vec()),
                }
                let next = (answer.length() as usize).next_multiple_of(NLMSG_ALIGNTO);
                rest = rest.get(next..).unwrap_or_default();
            }
        }
    }
}

/// An error number, negative, or 0.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        None | Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// Where the filters of a direction hang.
fn parent(direction: Direction) -> TcHandle {
    TcHandle {
        major: TcHandle::CLSACT.major,
        minor: match direction {
            Direction::Ingress => TcHandle::MIN_INGRESS,
            Direction::Egress => TcHandle::MIN_EGRESS,
        },
    }
}

fn clsact(ifindex: u32) -> TcMessage {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        handle: CLSACT_HANDLE,
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, vec![TcAttribute::Kind(CLSACT.to_owned())])
}

/// What tells a filter from all others.
fn message(ifindex: u32, filter: &Filter) -> TcMessage {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        handle: filter.handle.into(),
        parent: parent(filter.direction),
        info: u32::from(filter.priority) << 16 | u32::from(filter.protocol),
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, vec![TcAttribute::Kind(filter.kind.clone())])
}

fn filter(answer: &[u8], direction: Direction) -> Option<Filter> {
    let header = TcHeader::parse(answer).ok()?;
    let options = attribute(answer.get(HEADER_BYTES..)?, TCA_OPTIONS);
    let chain = attribute(answer.get(HEADER_BYTES..)?, TCA_CHAIN)
        .and_then(|octets| octets.first_chunk().map(|chain| u32::from_ne_bytes(*chain)));
    let kind = text(answer, TCA_KIND).unwrap_or_default();
    let name = options
        .filter(|_| kind == BPF)
        .and_then(|options| string(&attribute(&options, TCA_BPF_NAME)?));
    Some(Filter {
        direction,
        chain: chain.unwrap_or(0),
        priority: (header.info >> 16) as u16,
        protocol: header.info as u16,
        handle: header.handle.into(),
        kind,
        name,
    })
}

/// A string attribute of a message.
fn text(answer: &[u8], kind: u16) -> Option<String> {
    string(&attribute(answer.get(HEADER_BYTES..)?, kind)?)
}

/// Other people's filters have attributes of every kind: only those asked for are looked at.
fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == kind)
        .map(|attribute| attribute.value().to_vec())
}

fn string(octets: &[u8]) -> Option<String> {
    let end = octets.iter().position(|octet| *octet == 0)?;
    String::from_utf8(octets[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Emitable as _;

    use super::*;

    fn ours() -> Filter {
        Filter {
            direction: Direction::Egress,
            chain: 0,
            priority: 1,
            protocol: EVERY_PROTOCOL,
            handle: 0x6e6d_0001,
            kind: BPF.to_owned(),
            name: None,
        }
    }

    #[test]
    fn a_filter_is_read_as_it_is_written() {
        let mut written = message(7, &ours());
        let name = TcFilterBpfOption::ProgName("netmon".to_owned());
        let options = vec![TcOption::Bpf(name)];
        written.attributes.push(TcAttribute::Options(options));
        let mut octets = vec![0; written.buffer_len()];
        written.emit(&mut octets);
        let expected = Filter {
            name: Some("netmon".to_owned()),
            ..ours()
        };
        assert_eq!(filter(&octets, Direction::Egress), Some(expected));
    }

    #[test]
    fn odd_answers_are_nobodys_filter() {
        for odd in [&[][..], &[0; 19], &[0xff; 20], &[0xff; 64]] {
            let read = filter(odd, Direction::Ingress);
            assert!(read.is_none_or(|filter| filter.name.is_none()));
        }
        assert!(outcome(&[]).is_ok() && outcome(&0_i32.to_ne_bytes()).is_ok());
        let error = outcome(&(-libc::ENODEV).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
