//! The fixed label values of the server's metrics.

use prometheus::{IntCounterVec, Opts, Registry};

use super::{REGISTERED, register};

/// A label with a fixed set of values.
pub trait Label: Copy + Sized + 'static {
    /// The label's name.
    const LABEL: &'static str;
    /// Every value.
    const ALL: &'static [Self];
    /// The value as it stands in the metric.
    fn name(self) -> &'static str;
}

macro_rules! label {
    ($(#[$meta:meta])* $type:ident, $label:literal, { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$doc])* $variant,)+ }

        impl Label for $type {
            const LABEL: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

label! {
    /// Why a QUIC or TLS handshake failed.
    HandshakeFailure, "cause", {
        /// The peer does not speak `netmon/1`.
        Alpn = "alpn",
        /// No client certificate, or one the CA did not sign, expired or not for clients.
        Certificate = "certificate",
        /// A certificate of ours that names no agent.
        Identity = "identity",
        /// The peer gave up, mostly because it does not trust the server's certificate.
        AbortedByPeer = "aborted_by_peer",
        /// Nothing more came.
        Timeout = "timeout",
        /// Anything else against QUIC or TLS.
        Protocol = "protocol",
    }
}

label! {
    /// Why the server refused or closed a connection.
    ConnectionRefusal, "cause", {
        /// As many connections as the server takes, or takes of one agent without a Hello.
        TooMany = "too_many_connections",
        /// As many handshakes as the server does at a time: the peer asks again by itself.
        Deferred = "deferred",
        /// No Hello in time.
        HelloMissing = "hello_missing",
        /// The control stream broke its rules.
        ControlMalformed = "control_malformed",
        /// The agent made a newer connection.
        Replaced = "replaced",
        /// A message did not arrive in time.
        Stalled = "stalled",
    }
}

label! {
    /// What became of the server's certificate when it was to change.
    CertificateRefresh, "result", {
        /// Other files lay in the directory.
        Loaded = "loaded",
        /// Issued anew before its expiry.
        Renewed = "renewed",
        /// Not usable, or not to be written: the old one stays.
        Failed = "failed",
    }
}

label! {
    /// Why a stream held no message.
    StreamFailure, "cause", {
        /// Not a message of the protocol.
        Garbage = "garbage",
        /// Larger than a message may be.
        Oversized = "oversized",
        /// Ended before the message did.
        Truncated = "truncated",
        /// Reset by the agent.
        Reset = "reset",
    }
}

label! {
    /// Why a batch can never be stored.
    BatchRefusal, "cause", {
        /// The batch does not decode.
        Malformed = "malformed",
        /// Larger than a message may be, or more rows than one batch may hold.
        Oversized = "oversized",
        /// A row breaks a rule of its table.
        InvalidRow = "invalid_row",
    }
}

label! {
    /// The tables batches are written to.
    Table, "table", {
        /// Packed time series.
        Bandwidth = "bandwidth_stats",
        /// NTP exchanges.
        Exchanges = "ntp_exchanges",
        /// NTP exchanges that agents counted together.
        Folds = "ntp_folds",
        /// Readings of hosts.
        System = "system_stats",
        /// Questions of NTP modes 6 and 7.
        Controls = "ntp_control",
        /// NTP clients, updated in place.
        Clients = "ntp_clients",
        /// NTP servers, updated in place.
        Servers = "ntp_servers",
        /// Interfaces, updated in place.
        Interfaces = "interfaces",
        /// Communications with watched addresses, updated in place.
        Communications = "botnet_communications",
    }
}

label! {
    /// The lanes of writers, by what their batches carry.
    Lane, "lane", {
        /// Frames.
        Bandwidth = "bandwidth",
        /// Readings of hosts.
        System = "system",
        /// NTP exchanges.
        Exchanges = "exchanges",
        /// Everything else, and the mixed batches of older agents.
        Other = "other",
    }
}

label! {
    /// What made a group of batches complete.
    FlushCause, "cause", {
        /// Enough rows.
        Rows = "rows",
        /// Enough octets.
        Bytes = "bytes",
        /// The first of them had waited long enough.
        Time = "time",
    }
}

label! {
    /// What the database was asked when it failed.
    DatabaseOperation, "operation", {
        /// Storing a batch.
        Commit = "commit",
        /// Writing an agent's row.
        Register = "register",
        /// Keeping a refused batch.
        Refuse = "refuse",
        /// Creating and dropping partitions.
        Maintain = "maintain",
        /// Looking for what is wished of NTP monitoring.
        Wishes = "wishes",
        /// Looking for what agents are to watch.
        WatchList = "watch_list",
    }
}

/// A counter with one label, all of whose values exist from the start.
pub(super) fn vector(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: &[&str],
) -> IntCounterVec {
    let vector = IntCounterVec::new(Opts::new(name, help), &[label]).expect(REGISTERED);
    let vector = register(registry, vector);
    for value in values {
        vector.with_label_values(&[value]);
    }
    vector
}

/// The same for a [`Label`].
pub(super) fn of<L: Label>(registry: &Registry, name: &str, help: &str) -> IntCounterVec {
    let names: Vec<_> = L::ALL.iter().map(|value| value.name()).collect();
    vector(registry, name, help, L::LABEL, &names)
}
