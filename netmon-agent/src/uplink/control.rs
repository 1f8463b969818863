//! Length-delimited messages on the control stream.

use netmon_common::wire::MAX_CONTROL_BYTES;
use prost::Message;
use quinn::{ReadExactError, RecvStream, SendStream, WriteError};

/// The control stream cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It ended or was cut.
    #[error("the control stream ended: {0}")]
    Read(#[from] ReadExactError),
    /// It cannot be written.
    #[error("the control stream cannot be written: {0}")]
    Write(#[from] WriteError),
    /// A message longer than agreed.
    #[error("the server sent a control message of {0} bytes")]
    Oversized(u64),
    /// Bytes that are no message.
    #[error("the server sent an unreadable control message: {0}")]
    Decode(#[from] prost::DecodeError),
}

/// Writes one message.
pub async fn write(stream: &mut SendStream, message: &impl Message) -> Result<(), ControlError> {
    Ok(stream
        .write_all(&message.encode_length_delimited_to_vec())
        .await?)
}

/// Reads one message.
pub async fn read<M: Message + Default>(stream: &mut RecvStream) -> Result<M, ControlError> {
    let length = read_varint(stream).await?;
    if length > MAX_CONTROL_BYTES as u64 {
        return Err(ControlError::Oversized(length));
    }
    let mut buffer = vec![0; length as usize];
    stream.read_exact(&mut buffer).await?;
    Ok(M::decode(&*buffer)?)
}

/// A protobuf varint of at most three octets: enough for any length that is allowed.
async fn read_varint(stream: &mut RecvStream) -> Result<u64, ControlError> {
    let mut value = 0;
    for shift in [0, 7, 14] {
        let mut octet = [0];
        stream.read_exact(&mut octet).await?;
        value |= u64::from(octet[0] & 0x7f) << shift;
        if octet[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ControlError::Oversized(value))
}
