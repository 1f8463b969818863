//! The kernel programs: hooks and maps, nothing else. Parsing is netmon-common's.
//!
//! Both programs attach by TCX (kernel 6.6, commit e420bed02507) at the head of their direction, or
//! as classic filters, and return `TC_ACT_UNSPEC`, so that other people's programs behind them run
//! unchanged.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod array;
mod atomic;
mod context;
mod counters;
mod flows;
mod link;
mod losses;
mod ntp;
mod octets;
mod place;
mod ports;
mod skb;
mod tick;
mod verdict;
mod watch;
mod xdp;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
use netmon_common::{
    counters::{Class, Direction},
    loss::Loss,
    packet::IpHeader,
};

use crate::{
    context::{Context, Frame},
    link::{Bare, Ethernet, LinkLayer},
    place::{Place, state},
    verdict::Finding,
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
    let plain = verdict::plain::<L>(ctx);
    let class = match plain {
        Some(plain) => {
            match plain.finding {
                Finding::Nothing => {}
                Finding::Ntp4 => ntp::extract_plain4::<L>(ctx, direction),
                Finding::Ntp6 => ntp::extract_plain6::<L>(ctx, direction),
            }
            plain.class as u8
        }
        None => {
            examine::<L>(ctx);
            ntp::extract(ctx, direction);
            Place::noted().map_or(Class::NotIp as u8, |place| place.class)
        }
    };
    let passed = counters::measure::<L>(ctx, plain.map(|plain| plain.class));
    counters::count(ctx, direction, class, &passed);
    flows::update::<L>(ctx, direction, plain.is_some(), &passed);
}

/// The whole parser: notes what the packet counts as, and where its headers are.
///
/// A function of its own: it needs most of the stack, and so does what comes after it. Its number says
/// nothing; functions of programs must have one.
#[inline(never)]
fn examine<L: LinkLayer>(ctx: &impl Context) -> u64 {
    let link = match L::parse(ctx) {
        Ok(link) => link,
        Err(loss) => {
            Place::note_none(state::UNPARSED, Class::of(&Err(loss), &Err(loss)));
            ntp::lose(ctx, loss);
            return 0;
        }
    };
    let ip = match IpHeader::parse(&Frame(ctx), &link) {
        Ok(Some(ip)) => ip,
        Ok(None) => {
            Place::note_none(state::NOT_IP, Class::of(&Ok(link), &Ok(None)));
            return 0;
        }
        Err(loss) => {
            Place::note_none(state::UNPARSED, Class::of(&Ok(link), &Err(loss)));
            ntp::lose(ctx, loss);
            return 0;
        }
    };
    Place::note(&link, &ip, Class::of(&Ok(link), &Ok(Some(ip))));
    if ip.hides_udp() {
        ntp::lose(ctx, Loss::LaterFragment);
    }
    0
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
