//! What can go wrong with botnets.

use super::{MAX_ALIASES, MAX_FAMILIES};
use crate::store::StoreError;

/// Why something was not stored or changed.
#[derive(Debug, thiserror::Error)]
pub enum BotnetError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The family was removed while it was written to, or never was.
    #[error("the family is not known (any more)")]
    FamilyGone,
    /// A name that no family can have.
    #[error("{0:?} is no name for a family: use 1 to 32 of a-z, 0-9, - and _")]
    Name(String),
    /// A name that means something else in the paths of the API.
    #[error("{0:?} cannot be a family's name: /api/v1/botnets/{0} is something else")]
    Reserved(String),
    /// Another family has the name, or it as an alias.
    #[error("{0:?} is a name or an alias already")]
    NameTaken(String),
    /// As many families as there may be.
    #[error("there are {MAX_FAMILIES} families already, more are not kept: remove one first")]
    TooManyFamilies,
    /// As many aliases as a family may have.
    #[error("a family has at most {MAX_ALIASES} aliases")]
    TooManyAliases,
    /// The key of an upload came with other lines before.
    #[error(
        "chunk {chunk} is not what came before with the same key: send other content with another \
         key"
    )]
    OtherContent {
        /// Which part of the upload.
        chunk: u32,
    },
    /// The key is so old that its chunks are forgotten: lines sent again would be counted twice.
    #[error(
        "the key was used longer ago than botnets.raw, so what is stored of it is not known any \
         more: send new content with a new key"
    )]
    KeyExpired,
    /// A sighting that nobody may store.
    #[error("a sighting at {0} lies outside of the times that are kept")]
    OutOfWindow(time::OffsetDateTime),
    /// The chunk is not as it was read.
    #[error("the chunk changed meanwhile: read it again")]
    ChunkChanged,
}

impl BotnetError {
    /// Whether it passes: the same may be tried again.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Transient { .. } | StoreError::TimedOut(_))
        )
    }
}

impl From<sqlx::Error> for BotnetError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
