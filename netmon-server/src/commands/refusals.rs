//! What was set aside.
