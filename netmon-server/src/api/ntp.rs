//! NTP as it was seen on the wire: clients, servers, each exchange, and what they come to.

pub mod cleanup;
mod client;
pub mod clients;
mod exchange;
pub mod exchanges;
pub mod export;
mod filter;
mod histogram;
pub mod history;
mod kind;
pub mod overview;
pub mod search;
mod selection;
pub mod servers;
pub mod statistics;
