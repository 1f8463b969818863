//! The kernel side: loads the programs, attaches them, reads their maps.

mod attach;
mod counters;
mod events;
mod load;
mod losses;
mod pins;
mod test_run;

pub use attach::{AttachError, Attachment};
pub use load::{LoadError, PROGRAMS, Sensor};
pub use pins::{PinError, Pins};
pub use test_run::{Program, ProgramHandle, TEST_RUN_IFINDEX};

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
}

impl AttachMode {
    /// The name used in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
        }
    }
}
