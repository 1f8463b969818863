//! What a configuration must be like to be used.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, SocketPlace};
use crate::spool::SyncPolicy;

impl Config {
    /// Checks every value against its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        within(
            "sample_interval",
            self.sample_interval,
            second / 100,
            10 * second,
            "it must be 10ms to 10s",
        )?;
        within(
            "report_interval",
            self.report_interval,
            self.sample_interval,
            60 * second,
            "it must be sample_interval to 60s",
        )?;
        within(
            "frame_interval",
            self.frame_interval,
            self.sample_interval,
            600 * second,
            "it must be sample_interval to 10m",
        )?;
        within(
            "shutdown_timeout",
            self.shutdown_timeout,
            Duration::ZERO,
            600 * second,
            "it must be 0s to 10m",
        )?;
        within(
            "ntp.timeout",
            self.ntp.timeout,
            second,
            60 * second,
            "it must be 1s to 60s",
        )?;
        within(
            "batch.max_age",
            self.batch.max_age,
            second / 10,
            60 * second,
            "it must be 100ms to 60s",
        )?;
        within(
            "server.retry_interval",
            self.server.retry_interval,
            second / 100,
            3600 * second,
            "it must be 10ms to 1h",
        )?;
        within(
            "server.max_retry_interval",
            self.server.max_retry_interval,
            self.server.retry_interval,
            3600 * second,
            "it must be retry_interval to 1h",
        )?;
        within(
            "server.reconnect_spread",
            self.server.reconnect_spread,
            Duration::ZERO,
            60 * second,
            "it must be 0s to 1m",
        )?;
        within(
            "server.certificate_check_interval",
            self.server.certificate_check_interval,
            second,
            3600 * second,
            "it must be 1s to 1h",
        )?;
        within(
            "system.interval",
            self.system.interval.unwrap_or(second),
            second,
            600 * second,
            "it must be 1s to 10m, or off",
        )?;
        rule(
            "ntp.max_pending",
            self.ntp.max_pending,
            (1..=4 << 20).contains(&self.ntp.max_pending),
            "it must be 1 to 4194304",
        )?;
        rule(
            "ntp.max_associations",
            self.ntp.max_associations,
            (1..=1 << 20).contains(&self.ntp.max_associations),
            "it must be 1 to 1048576",
        )?;
        self.check_folds()?;
        rule(
            "batch.max_records",
            self.batch.max_records,
            (1..=1500).contains(&self.batch.max_records),
            "it must be 1 to 1500",
        )?;
        self.check_flows()?;
        self.check_spool()?;
        rule(
            "sensor.ring_bytes",
            self.sensor.ring_bytes,
            self.sensor.ring_bytes.is_power_of_two()
                && (4096..=1 << 30).contains(&self.sensor.ring_bytes),
            "it must be a power of two from 4096 to 1073741824",
        )?;
        self.check_hooks()?;
        rule(
            "server.addresses",
            "empty",
            !self.server.addresses.is_empty(),
            "it must name at least one host:port",
        )?;
        rule(
            "log.filter",
            &self.log.filter,
            self.log.filter.parse::<EnvFilter>().is_ok(),
            "it must be a filter such as info or netmon_agent=debug",
        )?;
        for pattern in self
            .interfaces
            .include
            .iter()
            .chain(&self.interfaces.exclude)
        {
            rule(
                "interfaces",
                pattern,
                glob::Pattern::new(pattern).is_ok(),
                "it must be a shell pattern such as eth*",
            )?;
        }
        self.check_namespaces()?;
        let socket = &self.status.socket;
        rule(
            "status.socket",
            format!("{socket:?}"),
            !matches!(socket, SocketPlace::At(path) if !path.is_absolute()),
            "it must be an absolute path, \"spool\", or empty for no socket",
        )?;
        let loopback = self
            .metrics
            .listen
            .is_none_or(|listen| listen.ip().is_loopback());
        rule(
            "metrics.listen",
            format!("{:?}", self.metrics.listen),
            loopback,
            "it must be a loopback address: the metrics have no access control",
        )
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Most named network namespaces: each has maps of its own.
const MAX_NAMESPACES: usize = 64;

/// Longest name of a network namespace, octets: with an interface's 15 and a mark between them it is
/// as long as a server takes.
const MAX_NAMESPACE_BYTES: usize = 29;

impl Config {
    fn check_namespaces(&self) -> Result<(), ConfigError> {
        let names = &self.interfaces.namespaces;
        let is_odd = |c: char| matches!(c, '/' | '@') || c.is_whitespace() || c.is_control();
        for (at, name) in names.iter().enumerate() {
            let is_name = (1..=MAX_NAMESPACE_BYTES).contains(&name.len())
                && !matches!(name.as_str(), "." | "..")
                && !name.contains(is_odd);
            rule(
                "interfaces.namespaces",
                name,
                is_name && !names[..at].contains(name),
                "it must be names of network namespaces, each once, of at most 29 bytes without \
                 slash, @ or space",
            )?;
        }
        rule(
            "interfaces.namespaces",
            format_args!("{} names", names.len()),
            names.len() <= MAX_NAMESPACES,
            "it must be at most 64",
        )
    }

    fn check_hooks(&self) -> Result<(), ConfigError> {
        let sensor = &self.sensor;
        rule(
            "sensor.filter_priority",
            sensor.filter_priority,
            sensor.filter_priority > 0,
            "it must be 1 to 65535",
        )?;
        for pattern in &sensor.xdp {
            rule(
                "sensor.xdp",
                pattern,
                glob::Pattern::new(pattern).is_ok(),
                "it must be a shell pattern such as eth*",
            )?;
        }
        rule(
            "sensor.xdp",
            sensor.xdp.join(", "),
            sensor.xdp.is_empty() || !sensor.pin,
            "with sensor.pin it must be empty: XDP is not pinned",
        )
    }

    fn check_folds(&self) -> Result<(), ConfigError> {
        let ntp = &self.ntp;
        rule(
            "ntp.fold_above",
            ntp.fold_above,
            ntp.fold_above > 0,
            "it must be 1 to 4294967295",
        )?;
        // A server sums up hours: no window may reach over the end of one.
        let divides = |window: Duration| {
            let nanos = window.as_nanos();
            (1_000_000_000..=HOUR.as_nanos()).contains(&nanos)
                && HOUR.as_nanos().is_multiple_of(nanos)
        };
        rule(
            "ntp.fold_window",
            format!("{:?}", ntp.fold_window),
            divides(ntp.fold_window),
            "it must be 1s to 1h, and an hour a multiple of it",
        )?;
        rule(
            "ntp.max_folds",
            ntp.max_folds,
            (1..=4 << 20).contains(&ntp.max_folds),
            "it must be 1 to 4194304",
        )
    }

    fn check_flows(&self) -> Result<(), ConfigError> {
        let flows = &self.flows;
        let second = Duration::from_secs(1);
        rule(
            "flows.max_entries",
            flows.max_entries,
            (16..=4 << 20).contains(&flows.max_entries),
            "it must be 16 to 4194304",
        )?;
        within(
            "flows.drain_interval",
            flows.drain_interval,
            second / 10,
            60 * second,
            "it must be 100ms to 60s",
        )?;
        within(
            "flows.idle_timeout",
            flows.idle_timeout,
            flows.drain_interval,
            3600 * second,
            "it must be flows.drain_interval to 1h",
        )?;
        within(
            "flows.active_timeout",
            flows.active_timeout,
            flows.idle_timeout,
            24 * 3600 * second,
            "it must be flows.idle_timeout to 24h",
        )
    }

    fn check_spool(&self) -> Result<(), ConfigError> {
        let spool = &self.spool;
        let second = Duration::from_secs(1);
        rule(
            "spool.directory",
            format!("{:?}", spool.directory),
            spool
                .directory
                .as_ref()
                .is_none_or(|path| path.is_absolute()),
            "it must be an absolute path, or empty to keep batches in memory",
        )?;
        rule(
            "spool.memory_bytes",
            spool.memory_bytes,
            (4 << 20..=1 << 40).contains(&spool.memory_bytes),
            "it must be 4194304 to 1099511627776",
        )?;
        rule(
            "spool.max_bytes",
            spool.max_bytes,
            (8 << 20..=1 << 50).contains(&spool.max_bytes),
            "it must be 8388608 to 1125899906842624",
        )?;
        within(
            "spool.max_age",
            spool.max_age,
            3600 * second,
            400 * 24 * 3600 * second,
            "it must be 1h to 400d",
        )?;
        let SyncPolicy::Within(span) = spool.sync else {
            return Ok(());
        };
        within(
            "spool.sync",
            span,
            second / 100,
            3600 * second,
            "it must be 10ms to 1h, \"always\" or \"never\"",
        )
    }
}

fn within(
    key: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
    requirement: &'static str,
) -> Result<(), ConfigError> {
    rule(
        key,
        format!("{value:?}"),
        (least..=most).contains(&value),
        requirement,
    )
}

fn rule(
    key: &'static str,
    value: impl ToString,
    holds: bool,
    rule: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Value {
            key,
            value: value.to_string(),
            rule,
        })
    }
}
