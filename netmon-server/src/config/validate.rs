//! The ranges of the values: what no type can say.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, geo};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let require = |holds: bool, key: &'static str, problem: &str| match holds {
            true => Ok(()),
            false => Err(ConfigError::Invalid {
                key,
                problem: problem.to_owned(),
            }),
        };
        require(
            !self.data_dir.as_os_str().is_empty(),
            "data_dir",
            "is empty: name a directory, such as /var/lib/netmon-server",
        )?;
        require(
            self.http.listen.ip().to_canonical().is_loopback(),
            "http.listen",
            "must be a loopback address, since requests are not authenticated: put a proxy that \
             authenticates in front of 127.0.0.1",
        )?;
        require(
            (Duration::from_secs(1)..=HOUR).contains(&self.quic.certificate_check_interval),
            "quic.certificate_check_interval",
            "must lie between 1s and 1h",
        )?;
        require(
            (2..=1000).contains(&self.database.max_connections),
            "database.max_connections",
            "must lie between 2 and 1000",
        )?;
        require(
            (HOUR..=3660 * DAY).contains(&self.retention.raw),
            "retention.raw",
            "must lie between 1h and 10 years",
        )?;
        require(
            (self.retention.raw..=3660 * DAY).contains(&self.retention.minutes),
            "retention.minutes",
            "must lie between retention.raw and 10 years",
        )?;
        require(
            (self.retention.minutes..=3660 * DAY).contains(&self.retention.hours),
            "retention.hours",
            "must lie between retention.minutes and 10 years",
        )?;

        require(
            (HOUR..=366 * DAY).contains(&self.retention.ledger),
            "retention.ledger",
            "must lie between 1h and 366d",
        )?;
        require(
            self.ingest.flush_interval <= SECOND,
            "ingest.flush_interval",
            "must be at most 1s",
        )?;
        require(
            (1..=100_000).contains(&self.ingest.flush_rows),
            "ingest.flush_rows",
            "must lie between 1 and 100000",
        )?;
        require(
            ((64 << 10)..=(16 << 20)).contains(&self.ingest.flush_bytes),
            "ingest.flush_bytes",
            "must lie between 65536 and 16777216",
        )?; // A commit takes up to 100 s, and rows up to a minute old do not count as late.
        require(
            (3 * MINUTE..=DAY).contains(&self.rollup.lateness),
            "rollup.lateness",
            "must lie between 3m and 1d",
        )?;
        require(
            self.rollup.quiet <= 60 * MINUTE,
            "rollup.quiet",
            "must be at most 1h; 0s sums up late rows at once",
        )?;
        require(
            self.audit.interval.is_zero() || (MINUTE..=7 * DAY).contains(&self.audit.interval),
            "audit.interval",
            "must lie between 1m and 7d, or be 0s for never",
        )?;
        require(
            (0.0..=90.0).contains(&self.disk.warn_free_percent),
            "disk.warn_free_percent",
            "must lie between 0 (never warn) and 90",
        )?;
        require(
            (HOUR..=3660 * DAY).contains(&self.disk.min_raw),
            "disk.min_raw",
            "must lie between 1h and 10 years",
        )?;
        if let Some((key, problem)) = self.botnets.problem() {
            require(false, key, problem)?;
        }
        if let Some((key, problem)) = geo::problem(&self.geo) {
            require(false, key, problem)?;
        }
        require(
            self.metrics.max_interface_series <= 100_000,
            "metrics.max_interface_series",
            "must be at most 100000",
        )?;
        require(
            self.metrics.max_system_series <= 100_000,
            "metrics.max_system_series",
            "must be at most 100000",
        )?;
        require(
            self.metrics.ntp_servers.len() <= 100,
            "metrics.ntp_servers",
            "must name at most 100 servers",
        )?;
        if let Some(url) = &self.database.url {
            // The parser's own message may quote a part of the URL.
            let scheme = url
                .expose()
                .split_once("://")
                .map_or("", |(scheme, _)| scheme);
            let usable = matches!(scheme, "postgres" | "postgresql")
                && url.expose().parse::<PgConnectOptions>().is_ok();
            require(
                usable,
                "database.url",
                "is not of the form postgres://user:password@host:port/database",
            )?;
            require(
                self.database.bin_dir.is_none(),
                "database.bin_dir",
                "has no meaning together with database.url: remove one of them",
            )?;
        }
        EnvFilter::builder()
            .parse(&self.log.filter)
            .map(drop)
            .map_err(|error| ConfigError::Invalid {
                key: "log.filter",
                problem: format!("is unusable: {error}"),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_its_key() {
        let url = |text: &str| Some(Secret::from(text.to_owned()));
        for (key, message) in [
            ("data_dir", refused(|c| c.data_dir = "".into())),
            (
                "http.listen",
                refused(|c| c.http.listen = "0.0.0.0:8080".parse().unwrap()),
            ),
            (
                "database.max_connections",
                refused(|c| c.database.max_connections = 1),
            ),
            (
                "database.url",
                refused(|c| c.database.url = url("mysql://u:hunter2@h/d")),
            ),
            ("database.url", refused(|c| c.database.url = url(""))),
            (
                "retention.raw",
                refused(|c| c.retention.raw = Duration::from_secs(1)),
            ),
            (
                "retention.raw",
                refused(|c| c.retention.raw = Duration::MAX),
            ),
            (
                "retention.minutes",
                refused(|c| c.retention.minutes = c.retention.raw - MINUTE),
            ),
            (
                "retention.ledger",
                refused(|c| c.retention.ledger = Duration::from_secs(1)),
            ),
            (
                "ingest.flush_interval",
                refused(|c| c.ingest.flush_interval = 2 * SECOND),
            ),
            ("ingest.flush_rows", refused(|c| c.ingest.flush_rows = 0)),
            ("ingest.flush_bytes", refused(|c| c.ingest.flush_bytes = 1)),
            (
                "retention.hours",
                refused(|c| c.retention.hours = c.retention.minutes - MINUTE),
            ),
            (
                "rollup.lateness",
                refused(|c| c.rollup.lateness = 2 * MINUTE),
            ),
            ("rollup.quiet", refused(|c| c.rollup.quiet = DAY)),
            (
                "disk.warn_free_percent",
                refused(|c| c.disk.warn_free_percent = f64::NAN),
            ),
            ("disk.min_raw", refused(|c| c.disk.min_raw = MINUTE)),
            (
                "metrics.max_interface_series",
                refused(|c| c.metrics.max_interface_series = 1 << 20),
            ),
            (
                "metrics.max_system_series",
                refused(|c| c.metrics.max_system_series = 1 << 20),
            ),
            (
                "metrics.ntp_servers",
                refused(|c| c.metrics.ntp_servers = vec![[192, 0, 2, 1].into(); 101]),
            ),
            (
                "log.filter",
                refused(|c| c.log.filter = "netmon=loud".into()),
            ),
        ] {
            assert!(message.starts_with(key), "{key}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn ipv6_and_mapped_loopback_are_loopback() {
        for address in ["[::1]:8080", "[::ffff:127.0.0.1]:8080", "127.8.8.8:0"] {
            let mut config = Config::default();
            config.http.listen = address.parse().unwrap();
            assert!(config.validate().is_ok(), "{address}");
        }
    }
}
