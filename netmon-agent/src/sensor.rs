//! The kernel side: loads the programs, attaches them, reads their maps.

mod attach;
mod counters;
mod events;
mod load;
mod losses;
mod test_run;

pub use attach::{AttachError, Attachment};
pub use load::{LoadError, PROGRAMS, Sensor};
pub use test_run::{Program, ProgramHandle, TEST_RUN_IFINDEX};

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
