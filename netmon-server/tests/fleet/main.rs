//! Fifty simulated agents over real QUIC, a real server process on its managed PostgreSQL.

#[path = "../../benches/fleet/agent.rs"]
#[expect(dead_code, reason = "the benchmark has backlogs")]
mod agent;
#[path = "../../benches/fleet/books.rs"]
mod books;
#[path = "../../benches/fleet/exchanges.rs"]
mod exchanges;
#[path = "../../benches/fleet/fleet.rs"]
#[expect(dead_code, reason = "the benchmark has backlogs")]
mod fleet;
#[path = "../../benches/fleet/host.rs"]
mod host;
#[path = "../../benches/fleet/identity.rs"]
mod identity;
#[path = "../../benches/fleet/outbox.rs"]
mod outbox;
#[path = "../../benches/fleet/policy.rs"]
mod policy;
#[path = "../../benches/fleet/restart.rs"]
#[expect(dead_code, reason = "the benchmark prints the times")]
mod restart;
#[path = "../../benches/fleet/session.rs"]
mod session;
#[path = "../../benches/fleet/site.rs"]
#[expect(dead_code, reason = "shared with the benchmark")]
mod site;
#[path = "../../benches/fleet/source.rs"]
mod source;
#[path = "../../benches/fleet/tally.rs"]
#[expect(dead_code, reason = "the benchmark prints the times")]
mod tally;

mod restarts;
mod window;
