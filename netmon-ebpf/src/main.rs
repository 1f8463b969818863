//! The kernel programs: hooks and maps, nothing else. Parsing is netmon-common's.
//!
//! Both programs attach by TCX (kernel 6.6, commit e420bed02507) at the head of their direction
//! and return `TC_ACT_UNSPEC`, so that other people's programs behind them run unchanged.
#![no_std]
#![no_main]

mod counters;
mod link;
mod losses;
mod ntp;
mod skb;
mod verdict;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
use netmon_common::counters::Direction;

use crate::link::{Bare, Ethernet, LinkLayer};

/// Counts and inspects what the host receives over Ethernet.
#[classifier]
pub fn netmon_ingress(ctx: TcContext) -> i32 {
    inspect::<Ethernet>(&ctx, Direction::Ingress)
}

/// Counts and inspects what the host sends over Ethernet.
#[classifier]
pub fn netmon_egress(ctx: TcContext) -> i32 {
    inspect::<Ethernet>(&ctx, Direction::Egress)
}

/// Counts and inspects what the host receives over a link without a header (tun, WireGuard).
#[classifier]
pub fn netmon_bare_ingress(ctx: TcContext) -> i32 {
    inspect::<Bare>(&ctx, Direction::Ingress)
}

/// Counts and inspects what the host sends over a link without a header.
#[classifier]
pub fn netmon_bare_egress(ctx: TcContext) -> i32 {
    inspect::<Bare>(&ctx, Direction::Egress)
}

/// Does nothing: what calling any program costs, for `cargo xtask bench sensor`.
#[classifier]
pub fn netmon_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[inline(always)]
fn inspect<L: LinkLayer>(ctx: &TcContext, direction: Direction) -> i32 {
    counters::count::<L>(ctx, direction);
    if !verdict::is_ordinary::<L>(ctx) {
        ntp::extract::<L>(ctx, direction);
    }
    TC_ACT_UNSPEC
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Apache-2.0 OR MIT like the rest, and GPL so that the kernel lets the programs call its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
