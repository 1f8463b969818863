//! What can be made of NTP exchanges once they are stored.

pub mod joined;
