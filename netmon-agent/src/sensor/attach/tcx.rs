//! TCX: links, which end with the agent unless they are pinned.

use std::io;

use aya::{
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{SchedClassifierLink, TcAttachOptions},
    },
    sys::SyscallError,
};
use netmon_common::counters::Direction;

use super::{AttachError, Attachment, refusal};
use crate::sensor::{AttachMode, Hook, LinkKind, Sensor, batch, pins::LinkName};

/// Any interface that every network namespace has.
const LOOPBACK: &str = "lo";

impl Sensor {
    /// Whether the kernel has TCX, asked without attaching anything.
    ///
    /// # Errors
    /// The kernel's word if it says neither.
    pub fn has_tcx() -> Result<bool, ProgramError> {
        match SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Ingress) {
            Err(ProgramError::SyscallError(SyscallError { io_error, .. }))
                if io_error.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(false)
            }
            // Programs are there, and who they are is not ours to ask.
            Err(ProgramError::SyscallError(SyscallError {
                call: "bpf_prog_get_fd_by_id",
                ..
            }))
            | Ok(_) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(super) fn attach_tcx(
        &mut self,
        interface: &str,
        program: &str,
        direction: Direction,
    ) -> Result<FdLink, AttachError> {
        let program = self.classifier(program);
        let program = program.map_err(|error| refusal(interface, error))?;
        let direction = match direction {
            Direction::Ingress => TcAttachType::Ingress,
            Direction::Egress => TcAttachType::Egress,
        };
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

    pub(super) fn pin(
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
    /// none, or none that still count, or no links are wanted.
    pub fn adopt(&mut self, ifindex: u32, kind: LinkKind) -> Option<Attachment> {
        let names = self.pins.as_ref()?.links().ok()?;
        let names: Vec<_> = names.into_iter().filter(|n| n.ifindex == ifindex).collect();
        let id = names.first()?.attachment;
        if self.hooks.hook == Hook::Clsact {
            self.pins.as_ref()?.remove(&names);
            return None;
        }
        let pair = LinkName::pair(ifindex, id);
        if names.len() != 2 || !pair.iter().all(|name| names.contains(name)) {
            tracing::warn!(ifindex, "half of a pinned sensor: counting starts afresh");
            self.pins.as_ref()?.remove(&names);
            return None;
        }
        // Not pinned: of no use without an agent that takes flows.
        if let Err(error) = self.insert_untracked(ifindex) {
            tracing::warn!(ifindex, %error, "no room to count what belongs to no flow");
        }
        match self.replace_programs(pair, kind) {
            Ok(links) => Some(Attachment {
                mode: AttachMode::Tcx,
                id,
                pinned: Some(pair),
                is_adopted: true,
                _links: links.into(),
                filters: None,
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
            let program = self.classifier(program)?;
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
        let mode = attachment.mode();
        drop(attachment);
        // The kernel has waited for programs of TCX links.
        if mode != AttachMode::Tcx {
            batch::wait_for_programs();
        }
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

    pub(super) fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, ProgramError> {
        let program = self.ebpf.program_mut(name).ok_or_else(|| {
            ProgramError::IOError(io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
        })?;
        program.try_into()
    }
}
