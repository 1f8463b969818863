//! The kernel side: loads the programs, attaches them, reads their maps.

mod attach;
mod batch;
mod counters;
mod events;
mod flows;
mod hooks;
mod load;
mod losses;
mod pins;
mod ports;
mod program_time;
mod ring;
mod test_run;
mod watch;

pub use attach::{AttachError, Attachment, Swept};
pub use flows::{FlowFill, FlowSizes};
pub use hooks::{Hook, Hooks};
pub use load::{LoadError, PROGRAMS, Sensor};
pub use pins::{PinError, Pins};
pub use program_time::{ProgramTime, measure_programs, statistics_are_on};
pub use ring::RingFill;
pub use test_run::{Program, ProgramHandle, TEST_RUN_IFINDEX, TestBuffer};
pub use watch::WatchMaps;

/// What the frames of an interface start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An Ethernet header.
    Ethernet,
    /// The network layer: tun, WireGuard, PPP and IP tunnels.
    Bare,
}

impl LinkKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ethernet, Self::Bare];

    /// The names of the programs for ingress and egress.
    pub const fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Ethernet => ["netmon_ingress", "netmon_egress"],
            Self::Bare => ["netmon_bare_ingress", "netmon_bare_egress"],
        }
    }
}

/// How the programs are attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// TCX links (kernel 6.6).
    Tcx,
    /// Classic filters in a clsact qdisc.
    Clsact,
    /// XDP in the driver for ingress; egress by TCX or a classic filter.
    XdpNative,
    /// XDP behind the driver for ingress; egress as above.
    XdpGeneric,
}

impl AttachMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcx, Self::Clsact, Self::XdpNative, Self::XdpGeneric];

    /// The name used in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::XdpNative => "xdp_native",
            Self::XdpGeneric => "xdp_generic",
        }
    }
}
