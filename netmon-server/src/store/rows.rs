//! Batches turned into rows: everything that can be decided without the database.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use netmon_common::wire::{BandwidthFrame, Batch, Kind, NtpExchange};
use time::OffsetDateTime;

use super::{
    Invalid, Series, bandwidth, clients,
    copy::{self, CopyBuffer},
    decode::{Decoded, Decoder},
    exchanges, interfaces,
    invalid::fit,
    late::Hour,
    ledger::Key,
    names::Names,
    partitions::Day,
    reports, system,
};
use crate::agent_id::AgentId;

/// How far clocks may be apart, and how late the data of a retention period may come.
const TOLERANCE: Duration = Duration::from_secs(86_400);

/// The series agents write.
pub(super) const RAW: [Series; 3] = [Series::Bandwidth, Series::Exchanges, Series::System];

/// Octets of encoded rows whose memory [`Rows::clear`] keeps.
const KEPT_BYTES: usize = 32 << 20;

/// Why a message cannot become rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no message of the protocol.
    #[error("{0}")]
    Malformed(String),
    /// A row breaks a rule of its table.
    #[error(transparent)]
    Invalid(Invalid),
}

/// The times a batch may carry.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    earliest_ns: i64,
    latest_ns: i64,
}

/// The rows of valid batches that may be stored together, the series already encoded for COPY.
///
/// Everything lies in few long vectors, batch after batch, so that a row costs no allocation, a
/// batch that turns out to be invalid is cut off again, and any part of the batches can be stored
/// without the others.
#[derive(Debug, Default)]
pub struct Rows {
    copies: [CopyBuffer; RAW.len()],
    pub(super) names: Names,
    pub(super) interfaces: Vec<interfaces::Sighting>,
    pub(super) clients: Vec<clients::Sighting>,
    pub(super) streams: Vec<reports::Stream>,
    pub(super) omissions: Vec<reports::Omission>,
    pub(super) gaps: Vec<reports::Gap>,
    /// The partitions the series need.
    days: Vec<(Series, Day)>,
    /// The hours in which samples begin.
    hours: Vec<(Series, Hour)>,
    batches: Vec<Entry>,
}

/// One batch: its key, and where its rows end.
#[derive(Debug)]
struct Entry {
    key: Key,
    end: Mark,
}

/// The place after a batch's rows, in every vector.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    copies: [copy::Mark; RAW.len()],
    names: usize,
    interfaces: usize,
    clients: usize,
    streams: usize,
    omissions: usize,
    gaps: usize,
    days: usize,
    hours: usize,
}

/// What every row of a batch carries, and what its times may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) key: Key,
    pub(super) window: Window,
}

impl Window {
    /// From one day before the longest retention period to one day ahead.
    pub fn around(now: OffsetDateTime, retention: Duration) -> Self {
        let now_ns = i64::try_from(now.unix_timestamp_nanos()).unwrap_or(i64::MAX);
        let ns = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        Self {
            earliest_ns: now_ns
                .saturating_sub(ns(retention))
                .saturating_sub(ns(TOLERANCE)),
            latest_ns: now_ns.saturating_add(ns(TOLERANCE)),
        }
    }

    /// The time in microseconds since 1970, the database's resolution.
    pub(super) fn microseconds(&self, place: &str, unix_ns: i64) -> Result<i64, Invalid> {
        if unix_ns < self.earliest_ns {
            let problem = format_args!(
                "{unix_ns} ns is before the longest retention period: check the agent's clock"
            );
            return Err(Invalid::new(place, problem));
        }
        self.not_ahead(place, unix_ns)
    }

    /// The same for a time of any age.
    pub(super) fn not_ahead(&self, place: &str, unix_ns: i64) -> Result<i64, Invalid> {
        if unix_ns > self.latest_ns {
            let problem = format_args!(
                "{unix_ns} ns is more than a day ahead of the server's clock: check the agent's \
                 clock"
            );
            return Err(Invalid::new(place, problem));
        }
        Ok(unix_ns.div_euclid(1000))
    }
}

impl Rows {
    /// The rows of one batch.
    ///
    /// # Errors
    /// [`Invalid`] for the first field that breaks a rule.
    pub fn new(agent: AgentId, batch: &Batch, window: Window) -> Result<Self, Invalid> {
        let mut rows = Self::default();
        rows.push(agent, batch, window)?;
        Ok(rows)
    }

    /// Checks every field of a batch and appends its rows. An invalid batch leaves nothing.
    ///
    /// # Errors
    /// [`Invalid`] for the first field that breaks a rule.
    pub fn push(&mut self, agent: AgentId, batch: &Batch, window: Window) -> Result<(), Invalid> {
        let (frames, exchanges) = (&batch.bandwidth, &batch.exchanges);
        self.add(|rows| rows.append(agent, batch, frames, exchanges, window))
    }

    /// The same for a batch that is still the message it came in.
    ///
    /// # Errors
    /// [`Rejected`] says whether it cannot be read or breaks a rule.
    pub fn push_message(
        &mut self,
        agent: AgentId,
        message: &[u8],
        window: Window,
        decoder: &mut Decoder,
    ) -> Result<(), Rejected> {
        let Decoded {
            batch,
            frames,
            exchanges,
        } = decoder.decode(message).map_err(Rejected::Malformed)?;
        self.add(|rows| rows.append(agent, &batch, frames, exchanges, window))
            .map_err(Rejected::Invalid)
    }

    /// Forgets all batches; the memory stays for the next ones, unless it is a lot.
    pub fn clear(&mut self) {
        if self.encoded_bytes() > KEPT_BYTES {
            *self = Self::default();
            return;
        }
        self.cut(Mark::default());
        self.batches.clear();
    }

    fn add(
        &mut self,
        append: impl FnOnce(&mut Self) -> Result<Key, Invalid>,
    ) -> Result<(), Invalid> {
        let start = self.mark();
        match append(self) {
            Ok(key) => {
                let end = self.mark();
                self.batches.push(Entry { key, end });
                Ok(())
            }
            Err(invalid) => {
                self.cut(start);
                Err(invalid)
            }
        }
    }

    /// How many batches there are; each has its place, counted from 0, in the order they came.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Octets of the encoded rows.
    pub fn encoded_bytes(&self) -> usize {
        self.copies.iter().map(CopyBuffer::len).sum()
    }

    /// Rows of all batches that go into partitioned tables.
    pub fn series_rows(&self) -> u64 {
        self.copies.iter().map(|copy| u64::from(copy.rows())).sum()
    }

    fn append(
        &mut self,
        agent: AgentId,
        batch: &Batch,
        frames: &[BandwidthFrame],
        ntp: &[NtpExchange],
        window: Window,
    ) -> Result<Key, Invalid> {
        let key = key(agent, batch, frames.len(), ntp.len())?;
        let origin = Origin { key, window };
        let sealed_at_us = window.microseconds("sealed_at_unix_ns", batch.sealed_at_unix_ns)?;
        interfaces::collect(self, batch, sealed_at_us)?;
        bandwidth::encode(self, origin, frames)?;
        let synchronised = batch.clock.map(|clock| clock.synchronised);
        exchanges::encode(self, origin, ntp, synchronised)?;
        system::encode(self, origin, &batch.system)?;
        reports::collect(self, origin, batch)?;
        Ok(origin.key)
    }

    /// Notes the times of a row: when it begins, which decides its partition, and when its last
    /// sample does, in microseconds since 1970.
    pub(super) fn touch(&mut self, series: Series, first_us: i64, last_us: i64) {
        let day = (series, Day::of_microseconds(first_us));
        if self.days.last() != Some(&day) {
            self.days.push(day);
        }
        let (mut hour, last) = (
            Hour::of_microseconds(first_us),
            Hour::of_microseconds(last_us),
        );
        while hour <= last {
            if self.hours.last() != Some(&(series, hour)) {
                self.hours.push((series, hour));
            }
            hour = hour.plus(1);
        }
    }

    pub(super) fn key(&self, batch: usize) -> Key {
        self.batches[batch].key
    }

    /// Rows of a batch that go into partitioned tables.
    pub(super) fn row_count(&self, batch: usize) -> i32 {
        let rows = RAW.map(|series| self.rows_of(batch, series));
        i32::try_from(rows.iter().sum::<u32>()).unwrap_or(i32::MAX)
    }

    /// Rows of one table in a batch.
    pub(super) fn rows_of(&self, batch: usize, series: Series) -> u32 {
        let (start, end) = self.span(batch);
        let table = place(series);
        end.copies[table].rows_since(start.copies[table])
    }

    /// The encoded rows of one table in batches that follow each other.
    pub(super) fn encoded(&self, batches: Range<usize>, series: Series) -> &[u8] {
        let (start, end) = self.spanning(batches);
        let table = place(series);
        self.copies[table].between(start.copies[table], end.copies[table])
    }

    /// Where rows of a table are encoded.
    pub(super) fn buffer(&mut self, series: Series) -> &mut CopyBuffer {
        &mut self.copies[place(series)]
    }

    pub(super) fn interfaces_of(&self, batch: usize) -> &[interfaces::Sighting] {
        let (start, end) = self.span(batch);
        &self.interfaces[start.interfaces..end.interfaces]
    }

    pub(super) fn clients_of(&self, batch: usize) -> &[clients::Sighting] {
        let (start, end) = self.span(batch);
        &self.clients[start.clients..end.clients]
    }

    pub(super) fn streams_of(&self, batch: usize) -> &[reports::Stream] {
        let (start, end) = self.span(batch);
        &self.streams[start.streams..end.streams]
    }

    pub(super) fn omissions_of(&self, batch: usize) -> &[reports::Omission] {
        let (start, end) = self.span(batch);
        &self.omissions[start.omissions..end.omissions]
    }

    pub(super) fn gaps_of(&self, batch: usize) -> &[reports::Gap] {
        let (start, end) = self.span(batch);
        &self.gaps[start.gaps..end.gaps]
    }

    /// The partitions that batches need.
    pub(super) fn days_of(&self, batches: Range<usize>) -> BTreeSet<(Series, Day)> {
        let (start, end) = self.spanning(batches);
        self.days[start.days..end.days].iter().copied().collect()
    }

    pub(super) fn hours_of(&self, batch: usize) -> &[(Series, Hour)] {
        let (start, end) = self.span(batch);
        &self.hours[start.hours..end.hours]
    }

    fn span(&self, batch: usize) -> (Mark, Mark) {
        self.spanning(batch..batch + 1)
    }

    fn spanning(&self, batches: Range<usize>) -> (Mark, Mark) {
        let before = |batch: usize| match batch.checked_sub(1) {
            Some(before) => self.batches[before].end,
            None => Mark::default(),
        };
        (before(batches.start), before(batches.end))
    }

    fn mark(&self) -> Mark {
        Mark {
            copies: self.copies.each_ref().map(CopyBuffer::mark),
            names: self.names.mark(),
            interfaces: self.interfaces.len(),
            clients: self.clients.len(),
            streams: self.streams.len(),
            omissions: self.omissions.len(),
            gaps: self.gaps.len(),
            days: self.days.len(),
            hours: self.hours.len(),
        }
    }

    fn cut(&mut self, mark: Mark) {
        for (copy, mark) in self.copies.iter_mut().zip(mark.copies) {
            copy.cut(mark);
        }
        self.names.cut(mark.names);
        self.interfaces.truncate(mark.interfaces);
        self.clients.truncate(mark.clients);
        self.streams.truncate(mark.streams);
        self.omissions.truncate(mark.omissions);
        self.gaps.truncate(mark.gaps);
        self.days.truncate(mark.days);
        self.hours.truncate(mark.hours);
    }
}

/// The place of a series among those agents write.
fn place(series: Series) -> usize {
    RAW.iter()
        .position(|raw| *raw == series)
        .expect("only raw series are encoded")
}

/// The batch's key, once it is certain that the batch holds nothing of another kind: rows are
/// told apart by epoch and sequence, which two kinds may share.
fn key(agent: AgentId, batch: &Batch, frames: usize, exchanges: usize) -> Result<Key, Invalid> {
    let epoch = fit("epoch", batch.epoch)?;
    let sequence = fit("sequence", batch.sequence)?;
    if sequence == 0 {
        return Err(Invalid::new(
            "sequence",
            "is 0; the first batch of a stream is 1",
        ));
    }
    let kind = Kind::try_from(batch.kind).map_err(|_| {
        let problem = format_args!("{} is no kind this server knows", batch.kind);
        Invalid::new("kind", problem)
    })?;
    let carried = [
        ("bandwidth", Kind::Bandwidth, frames),
        ("exchanges", Kind::Exchanges, exchanges),
        ("system", Kind::System, batch.system.len()),
    ];
    for (place, of, count) in carried {
        if count > 0 && kind != of && kind != Kind::Unspecified {
            let problem = format_args!("has no place in a batch of kind {}", kind.name());
            return Err(Invalid::new(place, problem));
        }
    }
    Ok(Key {
        agent: agent.to_bigint(),
        epoch,
        kind: kind as i16,
        sequence,
    })
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{Counters, DirectionDeltas, Interface, NtpMatch, NtpPacket};

    use super::{BandwidthFrame, Batch, Duration, NtpExchange, OffsetDateTime, RAW, Rows, Window};
    use crate::agent_id::AgentId;

    const NOW_NS: i64 = 1_800_000_000_000_000_000;

    fn window() -> Window {
        let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(NOW_NS)).unwrap();
        Window::around(now, Duration::from_secs(7 * 86_400))
    }

    fn valid() -> Batch {
        let deltas = DirectionDeltas {
            packets: vec![1, 2],
            bytes: vec![60, 120],
            ..Default::default()
        };
        let packet = NtpPacket {
            version: 4,
            mode: 3,
            length: 48,
            ttl: 64,
            ..Default::default()
        };
        Batch {
            epoch: 1,
            sequence: 1,
            sealed_at_unix_ns: NOW_NS,
            interfaces: vec![Interface {
                name: "eth0".into(),
                ifindex: 2,
                mac: vec![2, 0, 0, 0, 0, 1],
                mtu: 1500,
                ..Default::default()
            }],
            bandwidth: vec![BandwidthFrame {
                interface: "eth0".into(),
                ifindex: 2,
                started_at_unix_ns: NOW_NS,
                interval_us: vec![500_000, 500_000],
                ingress: Some(deltas.clone()),
                egress: Some(deltas),
                ingress_total: Some(Counters::default()),
                egress_total: Some(Counters::default()),
                ..Default::default()
            }],
            exchanges: vec![NtpExchange {
                interface: "eth0".into(),
                r#match: NtpMatch::Unanswered.into(),
                client: vec![192, 0, 2, 1],
                client_port: 50_000,
                server: vec![192, 0, 2, 2],
                server_port: 123,
                requested_at_unix_ns: NOW_NS,
                request: Some(packet),
                null_reason: "unanswered".into(),
                ..Default::default()
            }],
            ..Batch::default()
        }
    }

    fn refusal(spoil: impl FnOnce(&mut Batch)) -> String {
        let mut batch = valid();
        spoil(&mut batch);
        Rows::new(AgentId::from_bigint(1), &batch, window())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_valid_batch_becomes_rows() {
        let rows = Rows::new(AgentId::from_bigint(1), &valid(), window()).unwrap();
        assert_eq!(
            RAW.map(|series| rows.rows_of(0, series)),
            [1, 1, 0],
            "{rows:?}"
        );
        assert_eq!(
            (rows.interfaces.len(), rows.clients.len(), rows.days.len()),
            (2, 1, 2)
        );
    }

    #[test]
    fn one_bad_field_refuses_the_batch_and_is_named() {
        type Spoil = fn(&mut Batch);
        let cases: &[(&str, Spoil)] = &[
            ("sequence: ", |b| b.sequence = 0),
            ("epoch: ", |b| b.epoch = u64::MAX),
            ("sealed_at_unix_ns: ", |b| b.sealed_at_unix_ns = 0),
            ("interfaces[0].name: ", |b| b.interfaces[0].name.clear()),
            ("interfaces[0].mac: ", |b| b.interfaces[0].mac = vec![1]),
            ("interfaces[0].link_speed_bps: ", |b| {
                b.interfaces[0].link_speed_bps = u64::MAX
            }),
            ("bandwidth[0].interface: ", |b| {
                b.bandwidth[0].interface = "a/b".into()
            }),
            ("bandwidth[0].interface: ", |b| {
                b.bandwidth[0].interface = "a\0b".into()
            }),
            ("bandwidth[0].started_at_unix_ns: ", |b| {
                b.bandwidth[0].started_at_unix_ns = NOW_NS + 2 * 86_400_000_000_000;
            }),
            ("bandwidth[0].started_at_unix_ns: ", |b| {
                b.bandwidth[0].started_at_unix_ns = NOW_NS - 9 * 86_400_000_000_000;
            }),
            ("bandwidth[0].interval_us: ", |b| {
                b.bandwidth[0].interval_us.clear()
            }),
            ("bandwidth[0].interval_us: ", |b| {
                b.bandwidth[0].interval_us = vec![1; 61]
            }),
            ("bandwidth[0].interval_us[1]: ", |b| {
                b.bandwidth[0].interval_us[1] = u32::MAX
            }),
            ("bandwidth[0].ingress: ", |b| b.bandwidth[0].ingress = None),
            ("bandwidth[0].egress.packets: ", |b| {
                b.bandwidth[0].egress.as_mut().unwrap().packets.push(1);
            }),
            ("bandwidth[0].ingress.packets[1]: ", |b| {
                b.bandwidth[0].ingress.as_mut().unwrap().packets[1] = 1 << 31;
            }),
            ("bandwidth[0].ingress.bytes[0]: ", |b| {
                b.bandwidth[0].ingress.as_mut().unwrap().bytes[0] = 1 << 63;
            }),
            ("bandwidth[0].ingress.wire_bytes: ", |b| {
                b.bandwidth[0].ingress.as_mut().unwrap().wire_packets = vec![1, 2];
            }),
            ("bandwidth[0].flags: ", |b| b.bandwidth[0].flags = vec![1]),
            ("bandwidth[0].flags[0]: ", |b| {
                b.bandwidth[0].flags = vec![1 << 15, 0]
            }),
            ("bandwidth[0].egress_total.bytes: ", |b| {
                b.bandwidth[0].egress_total.as_mut().unwrap().bytes = u64::MAX;
            }),
            ("bandwidth[1]: ", |b| {
                b.bandwidth.push(b.bandwidth[0].clone())
            }),
            ("exchanges[0].match: ", |b| b.exchanges[0].r#match = 0),
            ("exchanges[0].match: ", |b| b.exchanges[0].r#match = 99),
            ("exchanges[0].client: ", |b| {
                b.exchanges[0].client = vec![1, 2, 3]
            }),
            ("exchanges[0].server: ", |b| {
                b.exchanges[0].server = vec![0; 16]
            }),
            ("exchanges[0].client_port: ", |b| {
                b.exchanges[0].client_port = 65_536
            }),
            ("exchanges[0].vlan: ", |b| b.exchanges[0].vlan = 4096),
            ("exchanges[0].requested_at_unix_ns: ", |b| {
                b.exchanges[0].requested_at_unix_ns = 0
            }),
            ("exchanges[0].requested_at_unix_ns: ", |b| {
                b.exchanges[0].requested_at_unix_ns = 1
            }),
            ("exchanges[0].request.stratum: ", |b| {
                b.exchanges[0].request.as_mut().unwrap().stratum = 256;
            }),
            ("exchanges[0].request.poll: ", |b| {
                b.exchanges[0].request.as_mut().unwrap().poll = 128;
            }),
            ("exchanges[0].null_reason: ", |b| {
                b.exchanges[0].null_reason = "\0".into()
            }),
        ];
        for (place, spoil) in cases {
            let message = refusal(spoil);
            assert!(
                message.starts_with(place),
                "{message:?} should name {place:?}"
            );
        }
    }
}
