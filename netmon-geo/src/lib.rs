//! Where addresses are: country, province and city, by code.
//!
//! An [`Atlas`] holds sources in an order: two embedded files (countries for IPv4 and IPv6; Chinese
//! provinces and cities for IPv4), and what the configuration names beside or before them, MaxMind's
//! `mmdb` and ip2region's `xdb`. It gives a [`Place`] for an address; [`names`] has what people call
//! it. [`Edition`] says which data that was, so that what was located by other data can be located
//! again.

#![forbid(unsafe_code)]

mod atlas;
pub mod china;
mod edition;
mod embedded;
mod mmdb;
pub mod names;
mod place;
pub mod range_file;
mod ranges;
mod source;
mod special;
mod xdb;

pub use self::{
    atlas::Atlas,
    edition::Edition,
    place::{Place, PlaceError},
    source::{GeoError, Settings, Source, SpecialRegions},
};
