//! What became of every packet, by the agent's own metrics.

use std::collections::BTreeMap;

/// Metrics of an agent at a moment.
#[derive(Clone, Debug, Default)]
pub struct Books(BTreeMap<String, u64>);

/// How many packets are in a row of each kind. A late answer's request has a row of its own.
const OF_TWO_PACKETS: [&str; 5] = ["basic", "interleaved", "weak", "superseded", "refused"];

impl Books {
    /// From a page in Prometheus' text format.
    pub fn read(page: &str) -> Self {
        let lines = page.lines().filter_map(|line| {
            let (series, value) = line.strip_prefix("netmon_agent_")?.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse::<f64>().ok()? as u64))
        });
        Self(lines.collect())
    }

    /// A series without labels; 0 where there is none.
    pub fn one(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The values of a series by the one label that it has.
    pub fn by_label(&self, name: &str) -> BTreeMap<&str, u64> {
        let of_name = self.0.iter().filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?;
            let (_, label) = labels.strip_suffix("\"}")?.split_once("=\"")?;
            Some((label, *value))
        });
        of_name.collect()
    }

    fn sum(&self, name: &str) -> u64 {
        self.by_label(name).values().sum()
    }

    /// What the kernel programs counted at an interface's ingress.
    pub fn counted(&self, interface: &str) -> u64 {
        let labels = format!("{{direction=\"ingress\",interface=\"{interface}\"}}");
        self.one(&format!("interface_packets_total{labels}"))
    }

    /// Packets that the agent took from the kernel.
    pub fn taken(&self) -> u64 {
        self.one("ntp_packets_total")
    }

    /// Packets that were lost on the way to it, whatever the cause.
    pub fn lost(&self) -> u64 {
        self.sum("losses_total") + self.one("invalid_events_total")
    }

    /// Exchanges, whatever their match.
    pub fn exchanges(&self) -> u64 {
        self.sum("ntp_exchanges_total")
    }

    /// Packets that became part of an exchange.
    fn paired(&self) -> u64 {
        let exchanges = self.by_label("ntp_exchanges_total");
        let packets = exchanges.iter().map(|(kind, count)| {
            let packets = if OF_TWO_PACKETS.contains(kind) { 2 } else { 1 };
            packets * count
        });
        packets.sum()
    }

    /// Packets of which a counter says why they are in no exchange.
    pub fn not_paired(&self) -> u64 {
        self.sum("ntp_unpaired_total")
            + self.sum("ntp_requests_not_paired_total")
            + self.one("ntp_responses_not_paired_total")
            + self.one("ntp_refusals_not_paired_total")
    }

    /// Packets that the agent took and that are nowhere; less than nothing: twice somewhere.
    pub fn astray(&self) -> i64 {
        difference(self.taken(), self.paired() + self.not_paired())
    }

    /// Exchanges that shall be stored, whole or folded.
    pub fn to_store(&self) -> u64 {
        self.exchanges() - self.one("ntp_unasked_responses_not_stored_total")
    }

    /// Of these, those that were handed over for storage, or wait in folds for it.
    pub fn recorded(&self) -> u64 {
        self.sum("ntp_recorded_total") + self.one("ntp_folds_open_exchanges")
    }

    /// Records of exchanges that will never be stored.
    pub fn given_up(&self) -> u64 {
        let lost = self.0.iter().filter(|(series, _)| {
            series.starts_with("records_lost_total{") && series.contains("kind=\"exchanges\"")
        });
        lost.map(|(_, value)| value).sum()
    }

    /// What was added to each counter since.
    pub fn since(&self, earlier: &Self) -> Self {
        let added = self.0.iter().map(|(series, value)| {
            let before = earlier.0.get(series).copied().unwrap_or(0);
            (series.clone(), value.saturating_sub(before))
        });
        Self(added.collect())
    }
}

/// How much more the first is.
pub fn difference(more: u64, less: u64) -> i64 {
    more.cast_signed() - less.cast_signed()
}
