//! The packet parser over frames built by hand.

mod frames;
mod udp_on_port;
mod whole;
mod within;
