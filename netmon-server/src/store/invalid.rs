//! Why a batch can never be stored.

use std::fmt::Display;

/// The first row and field of a batch that break a rule of their table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Invalid {
    /// The field's path within the batch, such as `bandwidth[3].ingress.packets[7]`.
    pub place: String,
    /// What is wrong with it, and the limit it breaks.
    pub problem: String,
}

impl Invalid {
    pub(super) fn new(place: impl Display, problem: impl Display) -> Self {
        Self {
            place: place.to_string(),
            problem: problem.to_string(),
        }
    }

    /// The same problem seen from the message that holds the field.
    pub(super) fn within(mut self, parent: impl Display) -> Self {
        self.place = format!("{parent}.{}", self.place);
        self
    }
}

/// Converts a number into its column's type.
pub(super) fn fit<T, N>(place: impl Display, value: N) -> Result<T, Invalid>
where
    T: TryFrom<N> + MaxValue,
    N: Copy + Display,
{
    T::try_from(value).map_err(|_| {
        Invalid::new(
            place,
            format_args!("{value} is more than the {} the column holds", T::MAX),
        )
    })
}

/// Checks a number against the limit of its field.
pub(super) fn at_most(place: &str, value: u32, limit: u32) -> Result<u32, Invalid> {
    if value <= limit {
        Ok(value)
    } else {
        Err(Invalid::new(
            place,
            format_args!("{value} is more than {limit}"),
        ))
    }
}

/// The largest value of a column's type, for messages.
pub(super) trait MaxValue {
    const MAX: i64;
}

impl MaxValue for i16 {
    const MAX: i64 = i16::MAX as i64;
}

impl MaxValue for i32 {
    const MAX: i64 = i32::MAX as i64;
}

impl MaxValue for i64 {
    const MAX: i64 = i64::MAX;
}
