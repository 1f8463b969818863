//! What a running agent says of itself: one JSON document to whoever connects to its Unix socket,
//! and `netmon-agent status`, which asks for it and shows it.
//!
//! The agent reads nothing from that socket, so that a client can do nothing but take the document
//! or leave it; how many may take it at once, and for how long, is bounded.

mod ask;
mod health;
mod program_time;
mod report;
mod serve;
mod socket;
mod table;

pub use self::{
    ask::{Format, main},
    health::{Drains, Troubles},
    report::{
        Clock, Connection, Crossed, Drain, Failure, Flows, Interface, Namespace, Program, Report,
        Ring, Spool, VERSION, Watch,
    },
    serve::{Question, questions, serve},
    socket::{Socket, SocketError},
};
