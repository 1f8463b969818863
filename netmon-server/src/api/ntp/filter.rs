//! Which clients or exchanges a request means: the same filters in query strings and in bodies.

mod value;

use std::{fmt::Display, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, QueryBuilder, types::ipnetwork::IpNetwork};
use utoipa::ToSchema;

pub use value::values;
use value::{list, one};

use super::kind;
use crate::api::{agents, problem::Problem, range};

/// Most values of one filter.
const MAX_VALUES: usize = 1000;

/// What a request asks for. Values of one field are alternatives; fields narrow the answer together.
/// Each takes one value or a list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpFilter)]
pub struct Wish {
    /// Agents by id or alias.
    #[serde(deserialize_with = "list", alias = "agents")]
    #[schema(value_type = Vec<String>)]
    pub agent: Vec<String>,
    /// Names of interfaces.
    #[serde(
        deserialize_with = "list",
        alias = "interfaces",
        alias = "interface_name",
        alias = "interface_names"
    )]
    #[schema(value_type = Vec<String>)]
    pub interface: Vec<String>,
    /// Addresses or networks (CIDR) of clients.
    #[serde(
        deserialize_with = "list",
        alias = "clients",
        alias = "search_ip",
        alias = "client_ip",
        alias = "client_ips",
        alias = "ip_addresses"
    )]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.0/24"]))]
    pub client: Vec<String>,
    /// Addresses or networks (CIDR) of servers.
    #[serde(
        deserialize_with = "list",
        alias = "servers",
        alias = "server_ip",
        alias = "server_ips"
    )]
    #[schema(value_type = Vec<String>)]
    pub server: Vec<String>,
    /// Strata of the response.
    #[serde(deserialize_with = "list", alias = "strata")]
    #[schema(value_type = Vec<u8>)]
    pub stratum: Vec<String>,
    /// NTP versions of the response.
    #[serde(deserialize_with = "list", alias = "versions")]
    #[schema(value_type = Vec<u8>)]
    pub version: Vec<String>,
    /// Leap indicators of the response, 0 to 3.
    #[serde(deserialize_with = "list", alias = "leap_indicator")]
    #[schema(value_type = Vec<u8>)]
    pub leap: Vec<String>,
    /// How request and response fit together; of exchanges only.
    #[serde(deserialize_with = "list")]
    #[schema(value_type = Vec<kind::Match>)]
    pub r#match: Vec<String>,
    /// Where the sensor is: `client`, `server`, `transit`.
    #[serde(deserialize_with = "list")]
    #[schema(value_type = Vec<String>)]
    pub vantage: Vec<String>,
    /// Last seen at this time or later.
    #[serde(alias = "start_time")]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// Last seen before this time.
    #[serde(alias = "end_time")]
    #[schema(format = DateTime)]
    pub to: Option<String>,
    /// The offset is further from 0 than so many nanoseconds.
    #[serde(deserialize_with = "one")]
    #[schema(value_type = Option<u64>)]
    pub offset_over_ns: Option<String>,
}

/// A wish whose values are known to be right.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    agents: Vec<i64>,
    interfaces: Vec<String>,
    clients: Vec<IpNetwork>,
    servers: Vec<IpNetwork>,
    strata: Vec<i16>,
    versions: Vec<i16>,
    leaps: Vec<i16>,
    matches: Vec<String>,
    vantages: Vec<String>,
    offset_over_ns: Option<i64>,
}

impl Wish {
    /// What tells two wishes apart.
    pub fn fingerprint(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Checks every value; agents are looked up.
    pub async fn filter(&self, database: &PgPool) -> Result<Filter, Problem> {
        let mut filter = self.without_agents()?;
        for agent in bounded("agent", &self.agent)? {
            let agent = agents::find(database, agent).await?;
            filter.agents.push(agent.id().to_bigint());
        }
        Ok(filter)
    }

    fn without_agents(&self) -> Result<Filter, Problem> {
        let mut vantages = Vec::new();
        for vantage in bounded("vantage", &self.vantage)? {
            if !["client", "server", "transit"].contains(&vantage.as_str()) {
                let reason = "it must be client, server or transit";
                return Err(Problem::parameter("vantage", reason));
            }
            vantages.push(vantage.clone());
        }
        for matched in bounded("match", &self.r#match)? {
            kind::parse(Some(matched))?;
        }
        let over = match &self.offset_over_ns {
            None => None,
            Some(text) => Some(number("offset_over_ns", text, 0, i64::MAX)?),
        };
        Ok(Filter {
            agents: Vec::new(),
            interfaces: bounded("interface", &self.interface)?.to_vec(),
            clients: networks("client", &self.client)?,
            servers: networks("server", &self.server)?,
            strata: numbers("stratum", &self.stratum, 255)?,
            versions: numbers("version", &self.version, 7)?,
            leaps: numbers("leap", &self.leap, 3)?,
            matches: self.r#match.clone(),
            vantages,
            offset_over_ns: over,
        })
    }
}

fn bounded<'a>(name: &'static str, values: &'a [String]) -> Result<&'a [String], Problem> {
    if values.len() > MAX_VALUES {
        let reason = format!("it has more than {MAX_VALUES} values");
        return Err(Problem::parameter(name, reason));
    }
    // PostgreSQL cannot hold it in text.
    if values.iter().any(|value| value.contains('\0')) {
        return Err(Problem::parameter(name, "it contains a NUL character"));
    }
    Ok(values)
}

fn number<N: FromStr + PartialOrd + Display>(
    name: &'static str,
    text: &str,
    least: N,
    most: N,
) -> Result<N, Problem> {
    let number = text.parse().ok().filter(|n| (&least..=&most).contains(&n));
    number.ok_or_else(|| {
        let reason = format!("it must be a whole number from {least} to {most}");
        Problem::parameter(name, reason)
    })
}

fn numbers(name: &'static str, values: &[String], most: i16) -> Result<Vec<i16>, Problem> {
    let values = bounded(name, values)?.iter();
    values.map(|text| number(name, text, 0, most)).collect()
}

fn networks(name: &'static str, values: &[String]) -> Result<Vec<IpNetwork>, Problem> {
    let values = bounded(name, values)?.iter();
    let network = |text: &String| {
        network(text).ok_or_else(|| {
            let reason = "it must be an IPv4 or IPv6 address, or a network like 192.0.2.0/24";
            Problem::parameter(name, reason)
        })
    };
    values.map(network).collect()
}

/// An address, a network, or the first numbers of an IPv4 address, such as `192.168.`.
fn network(text: &str) -> Option<IpNetwork> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.into());
    }
    if let Some((_, prefix)) = text.split_once('/') {
        // Not a mask in dots.
        prefix.parse::<u8>().ok()?;
        return text.parse().ok();
    }
    let numbers: Vec<&str> = text.trim_end_matches('.').split('.').collect();
    if numbers.len() > 3 || !text.contains('.') {
        return None;
    }
    let mut octets = [0; 4];
    for (octet, number) in octets.iter_mut().zip(&numbers) {
        *octet = number.parse().ok()?;
    }
    IpNetwork::new(octets.into(), 8 * numbers.len() as u8).ok()
}

impl Filter {
    /// The agents, if they are limited.
    pub fn agents(&self) -> Option<&[i64]> {
        (!self.agents.is_empty()).then_some(&self.agents)
    }

    /// What of it can be asked of exchanges that were folded: where they were seen, and whose they are.
    pub fn of_folds(&self) -> Self {
        Self {
            strata: Vec::new(),
            versions: Vec::new(),
            leaps: Vec::new(),
            matches: Vec::new(),
            offset_over_ns: None,
            ..self.clone()
        }
    }

    /// The same filter on one agent.
    pub fn of_agent(&self, agent: i64) -> Self {
        Self {
            agents: vec![agent],
            ..self.clone()
        }
    }

    /// Appends conditions on columns of `of`, each with AND before it.
    pub fn push(&self, query: &mut QueryBuilder<'_, Postgres>, of: &str) {
        self.push_but_agents(query, of);
        if let Some(agents) = self.agents() {
            query.push(format_args!(" AND {of}.agent_id = ANY ("));
            query.push_bind(agents.to_vec()).push(")");
        }
    }

    /// The same without the agents.
    pub fn push_but_agents(&self, query: &mut QueryBuilder<'_, Postgres>, of: &str) {
        let texts = [
            ("interface", &self.interfaces),
            ("match", &self.matches),
            ("vantage", &self.vantages),
        ];
        for (column, values) in texts {
            match values.as_slice() {
                [] => {}
                [value] => {
                    query.push(format_args!(" AND {of}.{column} = "));
                    query.push_bind(value.clone());
                }
                values => {
                    query.push(format_args!(" AND {of}.{column} = ANY ("));
                    query.push_bind(values.to_vec()).push(")");
                }
            }
        }
        let numbers = [
            ("stratum", &self.strata),
            ("version", &self.versions),
            ("leap", &self.leaps),
        ];
        for (column, values) in numbers {
            match values.as_slice() {
                [] => {}
                [value] => {
                    query.push(format_args!(" AND {of}.{column} = "));
                    query.push_bind(*value);
                }
                values => {
                    query.push(format_args!(" AND {of}.{column} = ANY ("));
                    query.push_bind(values.to_vec()).push(")");
                }
            }
        }
        push_networks(query, of, "client", &self.clients);
        push_networks(query, of, "server", &self.servers);
        if let Some(over) = self.offset_over_ns {
            query.push(format_args!(" AND ({of}.offset_ns > "));
            query.push_bind(over);
            query.push(format_args!(" OR {of}.offset_ns < "));
            query.push_bind(-over).push(")");
        }
    }

    /// Appends what an index can use of the offset: its class, a column of clients only.
    pub fn push_class(&self, query: &mut QueryBuilder<'_, Postgres>, of: &str) {
        // Beyond 10^n ns with n from 6 (1 ms) on: classes 1, 2, 3 and 4.
        let over = self.offset_over_ns.unwrap_or(0);
        let class = (0..4)
            .take_while(|n| over >= 1_000_000 * 10_i64.pow(*n))
            .count();
        if class > 0 {
            // In the text, so that the planner sees that the partial index has it.
            query.push(format_args!(" AND {of}.offset_class >= {class}"));
        }
    }
}

/// Ranges of hosts: `<<=` would find an index only for constants.
fn push_networks(
    query: &mut QueryBuilder<'_, Postgres>,
    of: &str,
    column: &str,
    networks: &[IpNetwork],
) {
    if networks.is_empty() {
        return;
    }
    let is_host = |network: &IpNetwork| IpNetwork::from(network.ip()) == *network;
    match networks {
        // An index gives the rows of one server in the order of lists.
        [host] if is_host(host) => {
            query.push(format_args!(" AND {of}.{column} = "));
            query.push_bind(*host);
            return;
        }
        hosts if hosts.iter().all(is_host) => {
            query.push(format_args!(" AND {of}.{column} = ANY ("));
            query.push_bind(hosts.to_vec()).push(")");
            return;
        }
        _ => {}
    }
    let mut before = " AND (";
    for network in networks {
        query.push(before).push(format_args!("({of}.{column} >= "));
        query.push_bind(IpNetwork::from(network.network()));
        query.push(format_args!(" AND {of}.{column} <= "));
        query.push_bind(IpNetwork::from(last(network))).push(")");
        before = " OR ";
    }
    query.push(")");
}

fn last(network: &IpNetwork) -> IpAddr {
    match network {
        IpNetwork::V4(v4) => v4.broadcast().into(),
        IpNetwork::V6(v6) => v6.broadcast().into(),
    }
}

/// Appends a range of times of a column.
pub fn push_times(
    query: &mut QueryBuilder<'_, Postgres>,
    column: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), Problem> {
    if let Some(from) = from {
        query.push(format_args!(" AND {column} >= "));
        query.push_bind(range::time("from", from)?);
    }
    if let Some(to) = to {
        query.push(format_args!(" AND {column} < "));
        query.push_bind(range::time("to", to)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(json: &str) -> Wish {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn one_value_is_a_list_of_one_and_null_is_none() {
        let one = wish(r#"{"stratum": 2, "client_ip": "192.0.2.1", "interface": null}"#);
        let list = wish(r#"{"stratum": ["2"], "client": ["192.0.2.1"]}"#);
        assert_eq!(one, list);
        assert!(serde_json::from_str::<Wish>(r#"{"colour": "red"}"#).is_err());
    }

    #[test]
    fn addresses_may_be_networks_and_beginnings() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("2001:DB8::1", Some("2001:db8::1/128")),
            ("192.168.", Some("192.168.0.0/16")),
            ("10.1.2", Some("10.1.2.0/24")),
            ("10", None),
            ("10.1.256", None),
            ("192.0.2.0/33", None),
            ("192.0.2.0/255.255.255.0", None),
            ("", None),
            (".", None),
            ("host", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(network(text), expected, "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for json in [
            r#"{"stratum": 256}"#,
            r#"{"stratum": -1}"#,
            r#"{"leap": 4}"#,
            r#"{"version": "four"}"#,
            r#"{"vantage": "moon"}"#,
            r#"{"match": "maybe"}"#,
            r#"{"offset_over_ns": -1}"#,
            r#"{"client": "nobody"}"#,
        ] {
            assert!(wish(json).without_agents().is_err(), "{json}");
        }
        let many = Wish {
            interface: vec!["eth0".to_owned(); MAX_VALUES + 1],
            ..Wish::default()
        };
        assert!(many.without_agents().is_err());
    }
}
