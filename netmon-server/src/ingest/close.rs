//! The codes of [`netmon_common::wire::close`], as QUIC wants them.

use netmon_common::wire::close;
use quinn::VarInt;

/// See [`close::SHUTTING_DOWN`].
pub const SHUTTING_DOWN: VarInt = VarInt::from_u32(close::SHUTTING_DOWN);
/// See [`close::REPLACED`].
pub const REPLACED: VarInt = VarInt::from_u32(close::REPLACED);
/// See [`close::HELLO_MISSING`].
pub const HELLO_MISSING: VarInt = VarInt::from_u32(close::HELLO_MISSING);
/// See [`close::CONTROL_MALFORMED`].
pub const CONTROL_MALFORMED: VarInt = VarInt::from_u32(close::CONTROL_MALFORMED);
/// See [`close::IDENTITY`].
pub const IDENTITY: VarInt = VarInt::from_u32(close::IDENTITY);
/// See [`close::STALLED`].
pub const STALLED: VarInt = VarInt::from_u32(close::STALLED);
/// See [`close::OVERSIZED`].
pub const OVERSIZED: VarInt = VarInt::from_u32(close::OVERSIZED);
