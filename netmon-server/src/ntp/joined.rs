//! One exchange as several sensors saw it: which sightings belong together, where on the path each
//! was, and what the way between two of them took, there and back.
//!
//! One sensor knows the round trip only, and so cannot tell a path that is longer one way from a
//! clock that is wrong: the offset that it measures is the error of the server's clock plus half of
//! what the way there is longer. Two sensors at both ends of a way, whose clocks are right, measure
//! each direction by itself.
//!
//! No socket, no clock, no database: sightings in, exchanges out.

mod exchange;
mod group;
mod leg;
mod order;
mod sighting;
mod statistics;
#[cfg(test)]
mod tests;

pub use self::{
    exchange::Joined,
    group::{Group, Kind, group},
    leg::{Leg, Missing, Trust},
    order::Basis,
    sighting::{Clock, Path, Place, RowKey, Sighting, Vantage},
    statistics::{PairStatistics, Statistics, Summary},
};
