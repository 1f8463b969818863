//! The kernel programs: hooks and maps, nothing else. Parsing is netmon-common's.
//!
//! Both programs attach by TCX (kernel 6.6, commit e420bed02507) at the head of their direction, or
//! as classic filters, and return `TC_ACT_UNSPEC`, so that other people's programs behind them run
//! unchanged.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod context;
mod counters;
mod flows;
mod link;
mod losses;
mod ntp;
mod place;
mod skb;
mod verdict;
mod watch;
mod xdp;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
use netmon_common::{
    counters::{Class, Direction},
    packet::IpHeader,
};

use crate::{
    context::{Context, Frame},
    link::{Bare, Ethernet, LinkLayer},
};

/// Counts and inspects what the host receives over Ethernet.
#[classifier]
pub fn netmon_ingress(ctx: TcContext) -> i32 {
    inspect::<Ethernet>(&ctx, Direction::Ingress);
    TC_ACT_UNSPEC
}

/// Counts and inspects what the host sends over Ethernet.
#[classifier]
pub fn netmon_egress(ctx: TcContext) -> i32 {
    inspect::<Ethernet>(&ctx, Direction::Egress);
    TC_ACT_UNSPEC
}

/// Counts and inspects what the host receives over a link without a header (tun, WireGuard).
#[classifier]
pub fn netmon_bare_ingress(ctx: TcContext) -> i32 {
    inspect::<Bare>(&ctx, Direction::Ingress);
    TC_ACT_UNSPEC
}

/// Counts and inspects what the host sends over a link without a header.
#[classifier]
pub fn netmon_bare_egress(ctx: TcContext) -> i32 {
    inspect::<Bare>(&ctx, Direction::Egress);
    TC_ACT_UNSPEC
}

/// Does nothing: what calling any program costs, for `cargo xtask bench sensor`.
#[classifier]
pub fn netmon_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[inline(always)]
fn inspect<L: LinkLayer>(ctx: &impl Context, direction: Direction) {
    let passed = counters::measure::<L>(ctx);
    let class = match verdict::ordinary::<L>(ctx) {
        Some(class) => class,
        None => {
            place::forget();
            let class = examine::<L>(ctx, direction);
            ntp::refusal(ctx, direction);
            class
        }
    };
    counters::count(ctx, direction, class, &passed);
    flows::update::<L>(ctx, direction, &passed);
}

/// The whole parser.
///
/// A function of its own: it needs most of the stack, and so does what comes after it.
#[inline(never)]
fn examine<L: LinkLayer>(ctx: &impl Context, direction: Direction) -> Class {
    let link = L::parse(ctx);
    let ip = match &link {
        Ok(link) => IpHeader::parse(&Frame(ctx), link),
        Err(loss) => Err(*loss),
    };
    // Before the extraction: headers that live on beyond it are spilled half-initialised, which the
    // verifier lets nobody read without CAP_PERFMON.
    let class = Class::of(&link, &ip);
    if let (Ok(link), Ok(Some(ip))) = (&link, &ip) {
        place::note(link, ip);
    }
    ntp::extract(ctx, direction, &link, &ip);
    class
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
