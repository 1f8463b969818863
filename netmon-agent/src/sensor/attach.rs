//! Attaching to one interface.

use std::io;

use aya::{
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::FdLink,
        tc::{TcAttachOptions, TcError},
    },
    sys::SyscallError,
};
use nix::net::if_::if_nametoindex;

use super::{AttachMode, LinkKind, Sensor};

/// Both programs on one interface; dropping it detaches them.
///
/// The links are owned file descriptors: when the agent dies in any way, the kernel detaches.
#[derive(Debug)]
pub struct Attachment {
    mode: AttachMode,
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
}

impl Sensor {
    /// Attaches both programs at the head of the interface's TCX chains.
    ///
    /// The library takes a name, and names move: the index is checked before and after.
    pub fn attach(
        &mut self,
        interface: &str,
        ifindex: u32,
        kind: LinkKind,
    ) -> Result<Attachment, AttachError> {
        let is_still = || if_nametoindex(interface).is_ok_and(|index| index == ifindex);
        let gone = || AttachError::Gone(interface.to_owned());
        if !is_still() {
            return Err(gone());
        }
        let [ingress, egress] = kind.programs();
        let ingress = self.attach_one(ingress, interface, TcAttachType::Ingress)?;
        let egress = self.attach_one(egress, interface, TcAttachType::Egress)?;
        if !is_still() {
            return Err(gone());
        }
        Ok(Attachment {
            mode: AttachMode::Tcx,
            _links: [ingress, egress],
        })
    }

    fn attach_one(
        &mut self,
        program: &str,
        interface: &str,
        direction: TcAttachType,
    ) -> Result<FdLink, AttachError> {
        let refused = |source: ProgramError| match errno(&source) {
            Some(libc::ENODEV | libc::ENXIO) => AttachError::Gone(interface.to_owned()),
            Some(libc::EINVAL) => AttachError::NoTcx,
            _ => AttachError::Refused {
                interface: interface.to_owned(),
                source: Box::new(source),
            },
        };
        let program = self.ebpf.program_mut(program).expect("load() found it");
        let program = <&mut SchedClassifier>::try_from(program).map_err(refused)?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program
            .attach_with_options(interface, direction, order)
            .and_then(|id| program.take_link(id))
            .map_err(refused)?;
        FdLink::try_from(link).map_err(|source| AttachError::Refused {
            interface: interface.to_owned(),
            source: Box::new(source),
        })
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
