//! A cable between the host of agent and server and another host, for time daemons at both ends.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{
    Namespace, link,
    link::{End, Mac, add_address, add_neighbour, veth},
    wait_until,
};
use serde_json::Value;

use crate::site::{METRICS, Site};

/// Addresses of the agent's host: a client that asks all of them has a server in each.
pub const HERE: [&str; 4] = ["198.18.0.1", "198.18.0.3", "198.18.0.4", "198.18.0.5"];
pub const HERE_6: [&str; 2] = ["fd00:18::1", "fd00:18::3"];
/// Addresses of the other host.
pub const THERE: &str = "198.18.0.2";
pub const THERE_6: &str = "fd00:18::2";
const INTERFACE: &str = "nm-ntp";
/// The other end.
const FAR: &str = "eth0";
const PATIENCE: Duration = Duration::from_secs(30);

/// A site whose agent watches one end of a cable.
pub struct Cable {
    pub site: Site,
    /// Where the other end is.
    pub there: Namespace,
}

impl Cable {
    /// Lays the cable and starts the agent.
    pub fn lay() -> Result<Self> {
        let mut site = Site::with_server()?;
        let there = Namespace::new()?;
        let (mac, far_mac) = (Mac::local(1), Mac::local(2));
        let end = |place, name, mac| End { place, name, mac };
        veth(
            end(&site.namespace, INTERFACE, mac),
            end(&there, FAR, far_mac),
        )?;
        for address in HERE {
            add_address(&site.namespace, INTERFACE, &format!("{address}/24"))?;
            add_neighbour(&there, FAR, address.parse()?, mac)?;
        }
        for address in HERE_6 {
            add_address(&site.namespace, INTERFACE, &format!("{address}/64"))?;
            add_neighbour(&there, FAR, address.parse()?, mac)?;
        }
        add_address(&there, FAR, &format!("{THERE}/24"))?;
        add_address(&there, FAR, &format!("{THERE_6}/64"))?;
        for address in [THERE, THERE_6] {
            add_neighbour(&site.namespace, INTERFACE, address.parse()?, far_mac)?;
        }
        site.start_agent(&[])?;
        wait_until(PATIENCE, "the cable to be watched", || {
            let watched = site.metric(METRICS, "netmon_agent_interfaces_watched");
            (watched.ok()? == 1.0).then_some(())
        })?;
        Ok(Self { site, there })
    }

    /// The agent's host.
    pub fn here(&self) -> &Namespace {
        &self.site.namespace
    }

    /// Cuts the cable and stops the agent: whatever it saw is stored.
    pub fn cut(&mut self) -> Result<()> {
        link::ip_line(&self.there, &["link", "set", FAR, "down"])?;
        self.site.stop_agent()
    }

    /// All exchanges that REST shows with a filter, such as `server=198.18.0.1`, the oldest first.
    pub fn exchanges(&self, filter: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/ntp/exchanges?limit=1000&{filter}");
        self.listed(&path)
    }

    /// All questions of modes 6 and 7, the oldest first.
    pub fn controls(&self) -> Result<Vec<Value>> {
        self.listed("/api/v1/ntp/control?limit=1000")
    }

    /// All items of one page, the oldest first.
    pub fn listed(&self, path: &str) -> Result<Vec<Value>> {
        let mut page = self.site.rest(path)?;
        ensure!(page["next_cursor"].is_null(), "more than one page");
        let items = page["items"].take();
        let Value::Array(mut items) = items else {
            anyhow::bail!("{path} is no list");
        };
        items.reverse();
        Ok(items)
    }
}

/// Fails unless a row has all of these fields.
pub fn has(row: &Value, fields: &[(&str, Value)]) -> Result<()> {
    for (name, expected) in fields {
        let found = row.get(name).with_context(|| format!("no field {name}"))?;
        ensure!(found == expected, "{name}: {found}, not {expected}: {row}");
    }
    Ok(())
}

/// How many rows there are of each value of a field.
pub fn count_by(rows: &[Value], field: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let value = &row[field];
        let name = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Fails if two rows are of the same request.
pub fn each_once(rows: &[Value]) -> Result<()> {
    let key = |row: &Value| {
        let fields = [
            "client",
            "client_port",
            "server",
            "request_transmit_timestamp",
        ];
        fields.map(|field| row[field].to_string())
    };
    let mut keys: Vec<_> = rows.iter().map(key).collect();
    keys.sort_unstable();
    for pair in keys.windows(2) {
        ensure!(pair[0] != pair[1], "twice: {:?}", pair[0]);
    }
    Ok(())
}

/// An address, from its text.
pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address is written right")
}
