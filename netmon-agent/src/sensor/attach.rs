//! Attaching to one interface: TCX links or classic filters, and XDP for ingress on request.

mod clsact;
mod filter_name;
mod owner;
mod tcx;
mod traffic_control;
mod xdp;

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use aya::{
    programs::{ProgramError, links::FdLink, tc::TcError},
    sys::SyscallError,
};
use netmon_common::counters::Direction;
use nix::net::if_::if_nametoindex;

pub use self::clsact::Swept;
use self::clsact::{FilterError, Filters};
pub(super) use self::{owner::Owner, xdp::XDP_PROGRAM};
use super::{AttachMode, Hook, LinkKind, Sensor, pins::LinkName};

/// Attachment numbers have this many random bits: the database's column is a signed 32-bit number.
const ATTACHMENT_BITS: u32 = 31;

/// Both programs on one interface.
///
/// Links are owned file descriptors: when it is dropped, or the agent dies in any way, the kernel
/// detaches. Unless they are pinned: then only [`Sensor::detach`] does. Classic filters go when it
/// is dropped; those of a killed agent are removed by the next one.
#[derive(Debug)]
pub struct Attachment {
    mode: AttachMode,
    id: u32,
    pinned: Option<[LinkName; 2]>,
    is_adopted: bool,
    _links: Vec<FdLink>,
    filters: Option<Filters>,
}

/// The programs cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It went away in the meantime.
    #[error("interface {0} is gone")]
    Gone(String),
    /// The kernel has no TCX, and nothing else is wanted.
    #[error("the kernel has no TCX hooks (Linux 6.6); sensor.hook = \"auto\" does without")]
    NoTcx,
    /// The kernel has no classic filters either.
    #[error("the kernel has no classic BPF filters (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)")]
    NoClsact,
    /// Something else sits where filters would go.
    #[error("cannot attach to {interface}: {reason}")]
    Taken {
        /// The interface.
        interface: String,
        /// What is there.
        reason: String,
    },
    /// Anything else.
    #[error("cannot attach to {interface}: {source}")]
    Refused {
        /// The interface.
        interface: String,
        /// The kernel's word.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AttachError {
    /// Every cause as a metric label.
    pub const CAUSES: [&'static str; 5] = ["gone", "no_tcx", "no_clsact", "taken", "refused"];

    /// The cause as a metric label.
    pub const fn cause(&self) -> &'static str {
        let [gone, no_tcx, no_clsact, taken, refused] = Self::CAUSES;
        match self {
            Self::Gone(_) => gone,
            Self::NoTcx => no_tcx,
            Self::NoClsact => no_clsact,
            Self::Taken { .. } => taken,
            Self::Refused { .. } => refused,
        }
    }
}

impl Attachment {
    /// How the programs are attached.
    pub const fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Names the attachment among all there ever were on the interface: its counters began at zero.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Whether an earlier agent began to count.
    pub const fn is_adopted(&self) -> bool {
        self.is_adopted
    }

    /// Whether counting goes on without the agent.
    pub const fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// Whether somebody has removed classic filters. Links cannot be removed by others.
    pub fn is_torn(&self) -> bool {
        self.filters
            .as_ref()
            .is_some_and(|filters| !filters.are_there().unwrap_or(true))
    }
}

impl Sensor {
    /// A number for the next attachment that no other has, in all likelihood.
    pub fn next_attachment() -> u32 {
        rand::random_range(1..1 << ATTACHMENT_BITS)
    }

    /// Attaches both programs before all others at the interface, and pins the links if the sensor
    /// is pinned. `id` names the attachment, see [`Sensor::next_attachment`].
    ///
    /// The library takes a name, and names move: the index is checked before and after.
    pub fn attach(
        &mut self,
        interface: &str,
        ifindex: u32,
        kind: LinkKind,
        id: u32,
    ) -> Result<Attachment, AttachError> {
        let is_still = || if_nametoindex(interface).is_ok_and(|index| index == ifindex);
        let gone = || AttachError::Gone(interface.to_owned());
        if !is_still() {
            return Err(gone());
        }
        let mut attachment = Attachment {
            mode: AttachMode::Tcx,
            id,
            pinned: None,
            is_adopted: false,
            _links: Vec::new(),
            filters: None,
        };
        let [ingress, egress] = kind.programs();
        let mut programs = vec![(Direction::Egress, egress)];
        let xdp = self.attach_xdp(interface, ifindex, kind);
        if xdp.is_none() {
            programs.insert(0, (Direction::Ingress, ingress));
        }
        match self.attach_links(interface, &programs)? {
            Some(links) => attachment._links = links,
            None => {
                attachment.mode = AttachMode::Clsact;
                attachment.filters = Some(self.attach_filters(interface, ifindex, &programs)?);
            }
        }
        if let Some((mode, link)) = xdp {
            attachment.mode = mode;
            attachment._links.push(link);
        }
        if !is_still() {
            return Err(gone());
        }
        if attachment.mode == AttachMode::Tcx
            && let Ok(links) = <[FdLink; 2]>::try_from(std::mem::take(&mut attachment._links))
        {
            let (links, pinned) = self.pin(links, interface, LinkName::pair(ifindex, id))?;
            attachment._links = links.into();
            attachment.pinned = pinned;
        }
        Ok(attachment)
    }

    /// `None`: classic filters are wanted, or the kernel has nothing else. That is found out by
    /// trying, once.
    fn attach_links(
        &mut self,
        interface: &str,
        programs: &[(Direction, &str)],
    ) -> Result<Option<Vec<FdLink>>, AttachError> {
        if self.hooks.hook == Hook::Clsact || self.without_tcx {
            return Ok(None);
        }
        let links = programs
            .iter()
            .map(|(direction, program)| self.attach_tcx(interface, program, *direction))
            .collect::<Result<Vec<_>, _>>();
        match links {
            Err(AttachError::NoTcx) if self.hooks.hook == Hook::Auto => {
                tracing::info!("the kernel has no TCX hooks (Linux 6.6): using classic filters");
                self.without_tcx = true;
                Ok(None)
            }
            links => links.map(Some),
        }
    }

    fn attach_filters(
        &mut self,
        interface: &str,
        ifindex: u32,
        programs: &[(Direction, &str)],
    ) -> Result<Filters, AttachError> {
        if self.pins.is_some() && !self.warned_of_pins {
            tracing::warn!(
                "sensor.pin holds for TCX links only: with classic filters, nothing counts while \
                 no agent runs"
            );
            self.warned_of_pins = true;
        }
        let owner = match &self.owner {
            Some(owner) => Arc::clone(owner),
            None => {
                let owner =
                    Owner::new().map_err(|error| filter_refusal(interface, error.into()))?;
                Arc::clone(self.owner.insert(Arc::new(owner)))
            }
        };
        let programs = self.descriptors(interface, programs)?;
        let priority = self.hooks.filter_priority;
        Filters::attach(ifindex, &owner, priority, &borrowed(&programs))
            .map_err(|error| filter_refusal(interface, error))
    }

    /// Puts back the classic filters that somebody has removed, see [`Attachment::is_torn`]. The
    /// counters go on from where they stood.
    pub fn mend(
        &mut self,
        attachment: &mut Attachment,
        interface: &str,
        kind: LinkKind,
    ) -> Result<(), AttachError> {
        let Some(filters) = &mut attachment.filters else {
            return Ok(());
        };
        let [ingress, egress] = kind.programs();
        let mut programs = vec![(Direction::Ingress, ingress), (Direction::Egress, egress)];
        programs.retain(|(direction, _)| filters.directions().contains(direction));
        let programs = self.descriptors(interface, &programs)?;
        filters
            .put(self.hooks.filter_priority, &borrowed(&programs))
            .map_err(|error| filter_refusal(interface, error))
    }

    fn descriptors(
        &mut self,
        interface: &str,
        programs: &[(Direction, &str)],
    ) -> Result<Vec<(Direction, OwnedFd)>, AttachError> {
        let descriptor = |(direction, name): &(Direction, &str)| {
            let descriptor = self.classifier(name)?.fd()?.as_fd().try_clone_to_owned()?;
            Ok((*direction, descriptor))
        };
        let descriptors = programs.iter().map(descriptor).collect::<Result<_, _>>();
        descriptors.map_err(|error| refusal(interface, error))
    }

    /// Removes the classic filters that killed agents have left, at every interface.
    ///
    /// # Errors
    /// rtnetlink does not answer.
    pub fn sweep() -> io::Result<Swept> {
        clsact::sweep()
    }
}

fn borrowed(programs: &[(Direction, OwnedFd)]) -> Vec<(Direction, BorrowedFd<'_>)> {
    programs
        .iter()
        .map(|(direction, descriptor)| (*direction, descriptor.as_fd()))
        .collect()
}

fn filter_refusal(interface: &str, error: FilterError) -> AttachError {
    let interface = interface.to_owned();
    let error = match error {
        FilterError::Taken(_) => {
            let reason = error.to_string();
            return AttachError::Taken { interface, reason };
        }
        FilterError::Io(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::ENODEV) => AttachError::Gone(interface),
        // What the kernel says of a kind of qdisc or filter that it does not know.
        Some(libc::ENOENT) => AttachError::NoClsact,
        _ => AttachError::Refused {
            interface,
            source: Box::new(error),
        },
    }
}

fn refusal(interface: &str, source: ProgramError) -> AttachError {
    match errno(&source) {
        Some(libc::ENODEV | libc::ENXIO) => AttachError::Gone(interface.to_owned()),
        Some(libc::EINVAL) => AttachError::NoTcx,
        _ => AttachError::Refused {
            interface: interface.to_owned(),
            source: Box::new(source),
        },
    }
}

/// The error number of the system call behind an error.
fn errno(error: &ProgramError) -> Option<i32> {
    let io: Option<&io::Error> = match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => Some(io_error),
        ProgramError::UnknownInterface { .. } => return Some(libc::ENODEV),
        ProgramError::TcError(TcError::IoError(io_error)) => Some(io_error),
        ProgramError::IOError(io_error) => Some(io_error),
        _ => None,
    };
    io.and_then(io::Error::raw_os_error)
}
