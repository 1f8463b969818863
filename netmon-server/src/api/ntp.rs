//! NTP as it was seen on the wire: clients, and each exchange.

pub mod clients;
mod exchange;
pub mod exchanges;
mod kind;
