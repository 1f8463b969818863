//! Numbers of a reading, as their columns hold them.

use crate::store::{
    Invalid,
    invalid::{MaxValue, fit},
};

/// Converts numbers into their columns' type.
pub(super) fn all<T, N, const COUNT: usize>(
    place: &str,
    values: [N; COUNT],
) -> Result<[T; COUNT], Invalid>
where
    T: TryFrom<N> + MaxValue + Copy + Default,
    N: Copy + std::fmt::Display,
{
    let mut converted = [T::default(); COUNT];
    for (to, from) in converted.iter_mut().zip(values) {
        *to = fit(place, from)?;
    }
    Ok(converted)
}

/// The same for numbers that may be absent.
pub(super) fn options<T, N, const COUNT: usize>(
    place: &str,
    values: [Option<N>; COUNT],
) -> Result<[Option<T>; COUNT], Invalid>
where
    T: TryFrom<N> + MaxValue + Copy,
    N: Copy + std::fmt::Display,
{
    let mut converted = [None; COUNT];
    for (to, from) in converted.iter_mut().zip(values) {
        *to = from.map(|value| fit(place, value)).transpose()?;
    }
    Ok(converted)
}
