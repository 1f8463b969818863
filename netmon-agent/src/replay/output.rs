//! Writing records: a table for people, or one JSON object a line.

use std::{
    fmt,
    io::{self, BufWriter, Write},
};

use clap::ValueEnum;

use super::record::{CountersFields, ExchangeRecord, FlowRecord, PacketRecord, Record};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of columns for each record.
    Table,
    /// A JSON object a line; what it is stands under the key `record`.
    Ndjson,
}

/// Where records go.
pub(super) struct Output<W: Write> {
    to: BufWriter<W>,
    format: Format,
}

impl<W: Write> Output<W> {
    pub(super) fn new(to: W, format: Format) -> Self {
        Self {
            to: BufWriter::new(to),
            format,
        }
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        match self.format {
            Format::Ndjson => {
                serde_json::to_writer(&mut self.to, record).map_err(io::Error::from)?;
                self.to.write_all(b"\n")
            }
            Format::Table => writeln!(self.to, "{}", Line(record)),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A record in columns.
struct Line<'a>(&'a Record<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Record::Packet(packet) => packet_line(f, packet),
            Record::Exchange(exchange) => exchange_line(f, exchange),
            Record::Flow(flow) => flow_line(f, flow),
            Record::Counters(counters) => {
                let interface = counters.interface.unwrap_or("-");
                write!(f, "counters  {interface} {}  ", counters.direction)?;
                counters_columns(f, &counters.total)
            }
            Record::Losses(losses) => {
                f.write_str("losses   ")?;
                let mut any = false;
                for (cause, count) in losses.0.iter().filter(|(_, count)| **count > 0) {
                    any = true;
                    write!(f, " {cause} {count}")?;
                }
                if any { Ok(()) } else { f.write_str(" none") }
            }
        }
    }
}

fn packet_line(f: &mut fmt::Formatter<'_>, packet: &PacketRecord<'_>) -> fmt::Result {
    let number = |number: Option<u8>| number.map_or("-".to_owned(), |number| number.to_string());
    write!(
        f,
        "packet    {:>6}  {}  {} > {}  version {} mode {} stratum {}  {} bytes",
        packet.frame,
        Seconds(packet.time_ns),
        Endpoint(packet.source, packet.source_port),
        Endpoint(packet.destination, packet.destination_port),
        number(packet.version),
        number(packet.mode),
        number(packet.stratum),
        packet.length,
    )
}

fn exchange_line(f: &mut fmt::Formatter<'_>, exchange: &ExchangeRecord) -> fmt::Result {
    let frame = |frame: Option<u64>| frame.map_or("-".to_owned(), |frame| frame.to_string());
    write!(
        f,
        "exchange  {:>6} {:>6}  {} > {}  {}",
        frame(exchange.request_frame),
        frame(exchange.response_frame),
        Endpoint(exchange.client, exchange.client_port),
        Endpoint(exchange.server, exchange.server_port),
        exchange.kind,
    )?;
    if let Some(response_time) = exchange.response_time_ns {
        write!(f, "  answered in {}", Milliseconds(response_time))?;
    }
    match exchange.offset_ns {
        Some(offset) => write!(f, "  offset {}", Milliseconds(offset)),
        None => Ok(()),
    }
}

fn flow_line(f: &mut fmt::Formatter<'_>, flow: &FlowRecord<'_>) -> fmt::Result {
    write!(
        f,
        "flow      {}  {} > {}  protocol {}  sent ",
        Seconds(i64::try_from(flow.first_seen_ns).ok()),
        Endpoint(flow.source, flow.source_port),
        Endpoint(flow.destination, flow.destination_port),
        flow.protocol,
    )?;
    counters_columns(f, &flow.forward)?;
    f.write_str("  received ")?;
    counters_columns(f, &flow.reverse)?;
    let lasted_ns = flow.last_seen_ns.saturating_sub(flow.first_seen_ns);
    let lasted_ns = i64::try_from(lasted_ns).unwrap_or(i64::MAX);
    write!(f, "  in {}", Milliseconds(lasted_ns))
}

fn counters_columns(f: &mut fmt::Formatter<'_>, counters: &CountersFields) -> fmt::Result {
    write!(f, "{} packets {} bytes", counters.packets, counters.bytes)
}

struct Endpoint(std::net::IpAddr, u16);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.0, self.1).fmt(f)
    }
}

/// Nanoseconds since 1970 as seconds.
struct Seconds(Option<i64>);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NS_PER_S: i64 = 1_000_000_000;
        match self.0 {
            Some(ns) => write!(
                f,
                "{}.{:09}",
                ns.div_euclid(NS_PER_S),
                ns.rem_euclid(NS_PER_S)
            ),
            None => f.write_str("-"),
        }
    }
}

/// Nanoseconds as milliseconds.
struct Milliseconds(i64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ns = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06} ms", ns / 1_000_000, ns % 1_000_000)
    }
}
