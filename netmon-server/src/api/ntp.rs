//! NTP as it was seen on the wire: clients, servers, each exchange, and what they come to.

pub mod cleanup;
mod client;
pub mod clients;
pub mod controls;
mod exchange;
pub mod exchanges;
pub mod export;
mod filter;
mod histogram;
pub mod history;
pub mod joined;
mod kind;
pub mod monitoring;
pub mod overview;
pub mod search;
mod selection;
pub mod servers;
pub mod statistics;
