//! `netmon-agent replay` on captures of every format and kind, as the real binary reads them.

mod build;
mod errors;
mod exchanges;
mod formats;
mod kernel;
mod links;
mod mutations;
mod pairing;
mod run;
mod shared;
mod sums;
