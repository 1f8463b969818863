//! What a frame starts with: decided per interface when attaching, compiled into the programs.

use netmon_common::{
    loss::Loss,
    packet::{ETHERNET_LENGTH, Link, ethertype},
};

use crate::context::{Context, Frame, read};

/// A kind of link.
pub trait LinkLayer {
    /// Octets of the header before the network layer, if there is no tag.
    const LENGTH: usize;

    /// The EtherType, if it stands where it usually does.
    fn ethertype(ctx: &impl Context) -> Option<u16>;

    /// The whole header.
    fn parse(ctx: &impl Context) -> Result<Link, Loss>;
}

/// Ethernet, with or without tags and PPPoE.
pub struct Ethernet;

impl LinkLayer for Ethernet {
    const LENGTH: usize = ETHERNET_LENGTH;

    #[inline(always)]
    fn ethertype(ctx: &impl Context) -> Option<u16> {
        read(ctx, ETHERNET_LENGTH - 2).map(u16::from_be_bytes)
    }

    #[inline(always)]
    fn parse(ctx: &impl Context) -> Result<Link, Loss> {
        let tag = ctx.stripped_tag();
        // The usual case without a call.
        match Self::ethertype(ctx) {
            Some(known @ (ethertype::IPV4 | ethertype::IPV6)) => Ok(Link::untagged(known, tag)),
            _ => Link::parse(&Frame(ctx), tag),
        }
    }
}

/// No header: the network layer comes first, and the kernel knows which.
pub struct Bare;

impl LinkLayer for Bare {
    const LENGTH: usize = 0;

    #[inline(always)]
    fn ethertype(ctx: &impl Context) -> Option<u16> {
        Some(ctx.ethertype())
    }

    #[inline(always)]
    fn parse(ctx: &impl Context) -> Result<Link, Loss> {
        Ok(Link::bare(ctx.ethertype()))
    }
}
