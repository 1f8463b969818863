//! What `up` asks the server's REST API.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};

/// A client of one server.
pub struct Api {
    client: ureq::Agent,
    base: String,
}

/// The newest values of an agent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Live {
    pub interfaces: Vec<Interface>,
    pub ntp: Ntp,
    pub losses: BTreeMap<String, u64>,
    pub outbox: Outbox,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Interface {
    pub name: String,
    pub ingress: Direction,
    pub egress: Direction,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Direction {
    pub bits_per_second: Option<f64>,
    pub packets_per_second: Option<f64>,
    pub average_packet_bytes: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ntp {
    pub exchanges_total: u64,
    pub unanswered_total: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Outbox {
    pub batches: u64,
    pub bytes: u64,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl Api {
    /// The API at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let client = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            // A proxy of the environment cannot reach this host's loopback.
            .proxy(None)
            .build()
            .into();
        let mut base = address;
        if base.ip().is_unspecified() {
            base.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Self {
            client,
            base: format!("http://{base}"),
        }
    }

    /// Where it is, as a URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether database and server are ready.
    pub fn is_ready(&self) -> bool {
        self.client
            .get(format!("{}/readyz", self.base))
            .call()
            .is_ok_and(|answer| answer.status() == 200)
    }

    /// The newest values of `agent`.
    ///
    /// # Errors
    /// When there are none or the server does not answer.
    pub fn live(&self, agent: &str) -> Result<Live> {
        self.ask(&format!("/api/v1/agents/{agent}/live"), &[])
    }

    /// Asks for `path` with parameters and reads the JSON that comes.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or answers with something else.
    pub fn ask<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        let mut answer = self
            .client
            .get(format!("{}{path}", self.base))
            .query_pairs(parameters.iter().copied())
            .call()
            .with_context(|| format!("GET {path}"))?;
        if answer.status() != 200 {
            #[derive(Deserialize)]
            struct Problem {
                code: String,
            }
            let status = answer.status();
            let problem = answer.body_mut().read_json::<Problem>();
            let code = problem.map(|problem| problem.code).unwrap_or_default();
            if matches!(code.as_str(), "unknown_agent" | "no_live_data") {
                bail!("no values from the agent yet");
            }
            bail!("GET {path}: {status} {code}");
        }
        answer
            .body_mut()
            .read_json()
            .with_context(|| format!("GET {path}"))
    }
}
