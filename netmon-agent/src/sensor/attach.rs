//! Attaching to one interface.

use std::io;

use aya::{
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{SchedClassifierLink, TcAttachOptions, TcError},
    },
    sys::SyscallError,
};
use nix::net::if_::if_nametoindex;

use super::{AttachMode, LinkKind, Sensor, pins::LinkName};

/// Attachment numbers have this many random bits: the database's column is a signed 32-bit number.
const ATTACHMENT_BITS: u32 = 31;

/// Both programs on one interface.
///
/// The links are owned file descriptors: when it is dropped, or the agent dies in any way, the
/// kernel detaches. Unless they are pinned: then only [`Sensor::detach`] does.
#[derive(Debug)]
pub struct Attachment {
    mode: AttachMode,
    id: u32,
    pinned: Option<[LinkName; 2]>,
    _links: [FdLink; 2],
}

/// The programs cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It went away in the meantime.
    #[error("interface {0} is gone")]
    Gone(String),
    /// The kernel has no TCX.
    #[error("the kernel has no TCX hooks: netmon needs Linux 6.6 or newer")]
    NoTcx,
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
    /// The cause as a metric label.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Gone(_) => "gone",
            Self::NoTcx => "no_tcx",
            Self::Refused { .. } => "refused",
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

    /// Whether counting goes on without the agent.
    pub const fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }
}

impl Sensor {
    /// A number for the next attachment that no other has, in all likelihood.
    pub fn next_attachment() -> u32 {
        rand::random_range(1..1 << ATTACHMENT_BITS)
    }

    /// Attaches both programs at the head of the interface's TCX chains, and pins the links if the
    /// sensor is pinned. `id` names the attachment, see [`Sensor::next_attachment`].
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
        let [ingress, egress] = kind.programs();
        let links = [
            self.attach_one(ingress, interface, TcAttachType::Ingress)?,
            self.attach_one(egress, interface, TcAttachType::Egress)?,
        ];
        if !is_still() {
            return Err(gone());
        }
        let (links, pinned) = self.pin(links, interface, LinkName::pair(ifindex, id))?;
        Ok(Attachment {
            mode: AttachMode::Tcx,
            id,
            pinned,
            _links: links,
        })
    }

    fn attach_one(
        &mut self,
        program: &str,
        interface: &str,
        direction: TcAttachType,
    ) -> Result<FdLink, AttachError> {
        let program = self.ebpf.program_mut(program).expect("load() found it");
        let program =
            <&mut SchedClassifier>::try_from(program).map_err(|e| refusal(interface, e))?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program
            .attach_with_options(interface, direction, order)
            .and_then(|id| program.take_link(id))
            .map_err(|error| refusal(interface, error))?;
        FdLink::try_from(link).map_err(|source| AttachError::Refused {
            interface: interface.to_owned(),
            source: Box::new(source),
        })
    }

    fn pin(
        &self,
        links: [FdLink; 2],
        interface: &str,
        names: [LinkName; 2],
    ) -> Result<([FdLink; 2], Option<[LinkName; 2]>), AttachError> {
        let Some(pins) = &self.pins else {
            return Ok((links, None));
        };
        let [ingress, egress] = links;
        let pin = |link: FdLink, name| link.pin(pins.link(name)).map(FdLink::from);
        let pinned = pin(ingress, names[0]).and_then(|first| Ok([first, pin(egress, names[1])?]));
        match pinned {
            Ok(links) => Ok((links, Some(names))),
            Err(source) => {
                pins.remove(&names);
                Err(AttachError::Refused {
                    interface: interface.to_owned(),
                    source: Box::new(source),
                })
            }
        }
    }

    /// Takes over the pinned links of an earlier agent on an interface: this agent's programs
    /// replace the earlier ones in place, and no packet passes uncounted. `None` when there are
    /// none, or none that still count.
    pub fn adopt(&mut self, ifindex: u32, kind: LinkKind) -> Option<Attachment> {
        let names = self.pins.as_ref()?.links().ok()?;
        let names: Vec<_> = names.into_iter().filter(|n| n.ifindex == ifindex).collect();
        let id = names.first()?.attachment;
        let pair = LinkName::pair(ifindex, id);
        if names.len() != 2 || !pair.iter().all(|name| names.contains(name)) {
            tracing::warn!(ifindex, "half of a pinned sensor: counting starts afresh");
            self.pins.as_ref()?.remove(&names);
            return None;
        }
        match self.replace_programs(pair, kind) {
            Ok(links) => Some(Attachment {
                mode: AttachMode::Tcx,
                id,
                pinned: Some(pair),
                _links: links,
            }),
            Err(error) => {
                // The interface it was on is gone, and its index is another's.
                tracing::info!(ifindex, %error, "a pinned sensor no longer counts");
                self.pins.as_ref()?.remove(&names);
                None
            }
        }
    }

    fn replace_programs(
        &mut self,
        names: [LinkName; 2],
        kind: LinkKind,
    ) -> Result<[FdLink; 2], Box<dyn std::error::Error + Send + Sync>> {
        let [ingress, egress] = kind.programs();
        let mut replace = |name, program| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let path = self.pins.as_ref().ok_or("not pinned")?.link(name);
            let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(path)?))?;
            let program = self.ebpf.program_mut(program).ok_or("no such program")?;
            let program = <&mut SchedClassifier>::try_from(program)?;
            let id = program.attach_to_link(link)?;
            Ok(FdLink::try_from(program.take_link(id)?)?)
        };
        Ok([replace(names[0], ingress)?, replace(names[1], egress)?])
    }

    /// Detaches for good, also what is pinned.
    pub fn detach(&self, attachment: Attachment) {
        if let (Some(pins), Some(names)) = (&self.pins, &attachment.pinned) {
            pins.remove(names);
        }
        drop(attachment);
    }

    /// Detaches what an earlier agent left on interfaces that `is_wanted` does not hold for.
    pub fn release(&self, is_wanted: impl Fn(u32) -> bool) {
        let Some(pins) = &self.pins else { return };
        match pins.links() {
            Ok(mut left) => {
                left.retain(|name| !is_wanted(name.ifindex));
                pins.remove(&left);
            }
            Err(error) => tracing::warn!(%error, "cannot list the pinned links"),
        }
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
