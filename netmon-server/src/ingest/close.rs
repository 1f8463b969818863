//! The codes the server closes connections and stops streams with.

use quinn::VarInt;

/// The server ends; come back later.
pub const SHUTTING_DOWN: VarInt = VarInt::from_u32(0);
/// The same agent made a newer connection.
pub const REPLACED: VarInt = VarInt::from_u32(1);
/// The control stream or its Hello did not come in time, or the agent has too many connections
/// that wait for theirs.
pub const HELLO_MISSING: VarInt = VarInt::from_u32(2);
/// The control stream carried something else than its messages, or was given up.
pub const CONTROL_MALFORMED: VarInt = VarInt::from_u32(3);
/// The certificate names no agent.
pub const IDENTITY: VarInt = VarInt::from_u32(4);
/// A message did not arrive in time; connect again and send what is not acknowledged.
pub const STALLED: VarInt = VarInt::from_u32(5);
/// On a stream: the message is larger than Welcome allows.
pub const OVERSIZED: VarInt = VarInt::from_u32(6);
