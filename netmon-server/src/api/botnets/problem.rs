//! What callers are told when families and nodes cannot be changed.

use crate::{
    api::problem::Problem,
    store::{StoreError, botnets::BotnetError},
};

impl From<BotnetError> for Problem {
    fn from(error: BotnetError) -> Self {
        match error {
            BotnetError::Store(StoreError::Transient { source, .. }) => source.into(),
            BotnetError::Store(StoreError::TimedOut(_)) => Self::QueryTimeout,
            BotnetError::Name(_) | BotnetError::Reserved(_) | BotnetError::TooManyAliases => {
                Self::InvalidBody(error.to_string())
            }
            BotnetError::NameTaken(_) | BotnetError::TooManyFamilies | BotnetError::FamilyGone => {
                Self::FamilyConflict(error.to_string())
            }
            BotnetError::OtherContent { .. } | BotnetError::KeyExpired => {
                Self::KeyUsed(error.to_string())
            }
            BotnetError::Store(_) | BotnetError::OutOfWindow(_) | BotnetError::ChunkChanged => {
                tracing::error!(%error, "a change of botnets failed");
                Self::Internal
            }
        }
    }
}
