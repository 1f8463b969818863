//! The first packet of a flow.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use netmon_common::{
    counters::Counters,
    flow::{
        FlowEvent, FlowEventKind, FlowKey4, FlowKey6, FlowValue, Side, Sighting, Untracked,
        WatchMark,
    },
};

use super::{HIGH, Key, LOW, count, see_flags};
use crate::{array::Slots as _, atomic};

/// Flows that were born or are newly watched. A ring of their own: a flood of new flows must not
/// push NTP events out. Its size is set by user space before loading.
#[map]
static FLOW_EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Events that found no room in the ring.
#[map]
static FLOW_EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where a value is put together: the stack has no room.
#[map]
static FLOW_BIRTH: PerCpuArray<FlowValue> = PerCpuArray::with_max_entries(1, 0);

/// `EEXIST` as a helper returns it.
const EXISTS: i32 = -17;

/// A key that can be told of.
pub trait Tell {
    /// Puts addresses and scope into an event.
    ///
    /// # Safety
    ///
    /// `event` must be valid for writes.
    unsafe fn write_to(&self, event: *mut FlowEvent);
}

/// The first packet of a flow in this generation.
pub struct First {
    /// What it shows.
    pub sighting: Sighting,
    /// Its length.
    pub passed: Counters,
    /// Monotonic clock, right to a tick.
    pub now_ns: u64,
    /// Who sent it.
    pub side: Side,
    /// Which maps are in use.
    pub turned: bool,
}

/// Makes the entry of a flow: 0 unless there is no room. The generation before knows whether the flow
/// is older than this one.
///
/// A function of its own for its share of the 512 octets of stack; such may only return a number.
#[inline(never)]
pub fn birth<K: Key>(key: &K, first: &First) -> u64 {
    let turned = first.turned;
    let [a, b] = K::maps();
    let watch = key.mark();
    let Some(scratch) = FLOW_BIRTH.slot(0) else {
        return 1;
    };
    // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
    let value = unsafe {
        scratch.write(FlowValue::first(
            &first.sighting,
            first.side,
            first.passed,
            first.now_ns,
            watch,
        ));
        &mut *scratch
    };
    let mut kind = Some(FlowEventKind::New);
    // Not before anything else that calls the kernel: whether there is a pointer would have to wait
    // on the stack, beside the pointer, and Linux 6.1 does not remember that the two belong together.
    let earlier = if turned {
        a.get_ptr(key)
    } else {
        b.get_ptr(key)
    };
    if let Some(earlier) = earlier {
        // SAFETY: the map returned a valid pointer; the fields are plain octets. User space may be
        // emptying this map: then they are still those of the entry, or of one that took its place.
        let (initiator, watch) = unsafe { ((*earlier).initiator, (*earlier).watch) };
        value.initiator = initiator;
        // A watch set that has changed meanwhile.
        let further = WatchMark(value.watch & !watch);
        kind = further.is_hit().then_some(FlowEventKind::Watched);
    }
    let flags = u64::from(BPF_NOEXIST);
    let inserted = if turned {
        b.insert(key, &*value, flags)
    } else {
        a.insert(key, &*value, flags)
    };
    let result = match inserted {
        Ok(()) => {
            if let Some(kind) = kind {
                tell(key, value, kind);
            }
            Ok(())
        }
        Err(EXISTS) => join(key, value, turned),
        Err(_) => Err(Untracked::MapFull),
    };
    u64::from(result.is_err())
}

/// Another CPU has made the entry in between: in the same moment, so that the time it was seen stays.
#[inline(always)]
fn join<K: Key>(key: &K, value: &FlowValue, turned: bool) -> Result<(), Untracked> {
    let [a, b] = K::maps();
    let found = if turned {
        b.get_ptr_mut(key)
    } else {
        a.get_ptr_mut(key)
    };
    let flow = found.ok_or(Untracked::MapFull)?;
    // SAFETY: the map returned a valid pointer, and the counts are added to atomically; what is not a
    // count is written in one piece by whoever comes.
    unsafe {
        count::<LOW>(flow, value.low);
        count::<HIGH>(flow, value.high);
        if (&raw const (*flow).payload).read() == 0 {
            (&raw mut (*flow).payload).write(value.payload);
        }
        see_flags(flow, value.known_flags);
        atomic::add_half::<{ offset_of!(FlowValue, syn) }, _>(flow, value.syn);
        atomic::add_half::<{ offset_of!(FlowValue, syn_ack) }, _>(flow, value.syn_ack);
        atomic::add_half::<{ offset_of!(FlowValue, fin) }, _>(flow, value.fin);
        atomic::add_half::<{ offset_of!(FlowValue, rst) }, _>(flow, value.rst);
    }
    Ok(())
}

/// User space looks into the ring many times a second: nobody needs to be woken.
#[inline(always)]
fn tell<K: Key>(key: &K, value: &FlowValue, kind: FlowEventKind) {
    if let Some(mut entry) = FLOW_EVENTS.reserve::<FlowEvent>(0) {
        let event = entry.as_mut_ptr();
        // SAFETY: the entry is valid for writes and large enough.
        unsafe {
            key.write_to(event);
            (*event).at_ns = value.first_seen_ns;
            (*event).ip_version = K::IP_VERSION;
            (*event).kind = kind as u8;
            (*event).initiator = value.initiator;
            (*event).tcp_flags = value.known_flags;
            (*event).watch = value.watch;
            (*event).icmp_kind = value.icmp_kind;
            (*event).icmp_code = value.icmp_code;
            (*event).reserved = 0;
        }
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    } else if let Some(lost) = FLOW_EVENTS_LOST.slot(0) {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
        unsafe { *lost += 1 };
    }
}

impl Tell for FlowKey4 {
    // Octets behind an IPv4 address keep what an older record left there: user space does not look at
    // them, and clearing them takes a loop that the verifier refuses without CAP_PERFMON.
    #[inline(always)]
    unsafe fn write_to(&self, event: *mut FlowEvent) {
        // SAFETY: the caller's promise.
        unsafe {
            (&raw mut (*event).low).cast::<[u8; 4]>().write(self.low);
            (&raw mut (*event).high).cast::<[u8; 4]>().write(self.high);
            (*event).low_port = self.low_port;
            (*event).high_port = self.high_port;
            (*event).ifindex = self.ifindex;
            (*event).vlans = self.vlans;
            (*event).protocol = self.protocol;
        }
    }
}

impl Tell for FlowKey6 {
    #[inline(always)]
    unsafe fn write_to(&self, event: *mut FlowEvent) {
        // SAFETY: the caller's promise.
        unsafe {
            (*event).low = self.low;
            (*event).high = self.high;
            (*event).low_port = self.low_port;
            (*event).high_port = self.high_port;
            (*event).ifindex = self.ifindex;
            (*event).vlans = self.vlans;
            (*event).protocol = self.protocol;
        }
    }
}
