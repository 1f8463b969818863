//! The bodies of requests, and the wishes in them.

use netmon_common::{ntp::NtpPorts, wire::NTP_TIMEOUT_MS};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{api::problem::Problem, store::Wish};

/// Most interfaces named in one request.
const MAX_INTERFACES: usize = 512;

/// How an interface is to be monitored. What is not said is as the agent's configuration says, whatever
/// was wished before.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpStart)]
pub struct Start {
    /// A UDP port, or a list of up to eight, on which servers are looked for.
    #[serde(alias = "ports")]
    #[schema(value_type = Option<PortOrPorts>)]
    port: Option<Value>,
    /// How long a request waits for its response, seconds.
    #[serde(alias = "timeout_seconds")]
    #[schema(value_type = Option<f64>, minimum = 0.1, maximum = 60, example = 2.0)]
    timeout: Option<Value>,
    /// The agent, by id or alias, unless the path or the query names it.
    pub agent: Option<String>,
    /// The agent need not have the interface yet.
    pub force: bool,
}

/// Of which interface nothing is to be looked at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpStop)]
pub struct Stop {
    /// The agent, by id or alias, unless the path or the query names it.
    pub agent: Option<String>,
    /// The agent need not have the interface yet.
    pub force: bool,
}

/// How several interfaces are to be monitored, all alike.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpStartSeveral)]
pub struct StartSeveral {
    /// Their names.
    #[schema(example = json!(["eth0", "eth1"]))]
    interfaces: Vec<String>,
    /// All interfaces that are watched: of the agent, or of every agent.
    all: bool,
    /// A UDP port, or a list of up to eight, on which servers are looked for.
    #[serde(alias = "ports")]
    #[schema(value_type = Option<PortOrPorts>)]
    port: Option<Value>,
    /// How long a request waits for its response, seconds.
    #[serde(alias = "timeout_seconds")]
    #[schema(value_type = Option<f64>, minimum = 0.1, maximum = 60, example = 2.0)]
    timeout: Option<Value>,
    /// The agent, by id or alias, unless the path or the query names it.
    pub agent: Option<String>,
    /// The agent need not have the interfaces yet.
    pub force: bool,
}

/// On which interfaces nothing is to be looked at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = NtpStopSeveral)]
pub struct StopSeveral {
    /// Their names.
    #[schema(example = json!(["eth0", "eth1"]))]
    interfaces: Vec<String>,
    /// All interfaces that are watched: of the agent, or of every agent.
    all: bool,
    /// The agent, by id or alias, unless the path or the query names it.
    pub agent: Option<String>,
    /// The agent need not have the interfaces yet.
    pub force: bool,
}

/// What may stand for ports.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = NtpPorts, example = 123)]
#[expect(
    dead_code,
    reason = "describes the values for OpenAPI; they are checked one by one"
)]
enum PortOrPorts {
    One(u16),
    Several(Vec<u16>),
}

/// The interfaces that are meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Which {
    Named(Vec<String>),
    All,
}

/// Nothing is looked at.
const STOPPED: Wish = Wish {
    monitored: false,
    ports: NtpPorts::NONE,
    timeout_ms: None,
};

impl Start {
    pub fn wish(&self) -> Result<Wish, Problem> {
        started(self.port.as_ref(), self.timeout.as_ref())
    }
}

impl Stop {
    pub fn wish(&self) -> Wish {
        STOPPED
    }
}

impl StartSeveral {
    pub fn wish(&self) -> Result<Wish, Problem> {
        started(self.port.as_ref(), self.timeout.as_ref())
    }

    pub fn which(&self) -> Result<Which, Problem> {
        which(&self.interfaces, self.all)
    }
}

impl StopSeveral {
    pub fn wish(&self) -> Wish {
        STOPPED
    }

    pub fn which(&self) -> Result<Which, Problem> {
        which(&self.interfaces, self.all)
    }
}

fn which(interfaces: &[String], all: bool) -> Result<Which, Problem> {
    match (interfaces, all) {
        ([], true) => Ok(Which::All),
        ([], false) => Err(Problem::parameter(
            "interfaces",
            "name some, or say \"all\": true",
        )),
        (_, true) => Err(Problem::parameter("all", "name interfaces, or say this")),
        (names, false) if names.len() <= MAX_INTERFACES => Ok(Which::Named(names.to_vec())),
        _ => Err(Problem::parameter(
            "interfaces",
            format!("they are more than {MAX_INTERFACES}"),
        )),
    }
}

fn started(port: Option<&Value>, timeout: Option<&Value>) -> Result<Wish, Problem> {
    Ok(Wish {
        monitored: true,
        ports: port.map_or(Ok(NtpPorts::NONE), ports)?,
        timeout_ms: timeout.map(timeout_ms).transpose()?,
    })
}

fn ports(value: &Value) -> Result<NtpPorts, Problem> {
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let list = match value {
        Value::Array(list) => list.iter().map(port).collect::<Option<Vec<_>>>(),
        value => port(value).map(|port| vec![port]),
    };
    let set = list.and_then(|list| NtpPorts::new(list).ok());
    set.filter(|set| !set.is_empty()).ok_or_else(|| {
        let reason =
            "it must be a whole number from 1 to 65535, or a list of one to eight of these";
        Problem::parameter("port", reason)
    })
}

fn timeout_ms(value: &Value) -> Result<u32, Problem> {
    // Finite: JSON knows no other numbers.
    let ms = value.as_f64().map(|seconds| (seconds * 1e3).round());
    let range = f64::from(*NTP_TIMEOUT_MS.start())..=f64::from(*NTP_TIMEOUT_MS.end());
    ms.filter(|ms| range.contains(ms))
        .map(|ms| ms as u32)
        .ok_or_else(|| Problem::parameter("timeout", "it must be 0.1 to 60 seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(json: &str) -> Result<Wish, Problem> {
        serde_json::from_str::<Start>(json).unwrap().wish()
    }

    #[test]
    fn a_start_names_ports_and_time_out_or_leaves_them_to_the_agent() {
        for (json, ports, timeout_ms) in [
            (r#"{"port": 123, "timeout": 2.0}"#, &[123][..], Some(2000)),
            (
                r#"{"ports": [1123, 123], "timeout": 0.1}"#,
                &[123, 1123],
                Some(100),
            ),
            (
                r#"{"port": 65535, "timeout_seconds": 60}"#,
                &[65_535],
                Some(60_000),
            ),
            (r#"{"port": null}"#, &[], None),
            ("{}", &[], None),
        ] {
            let wish = wish(json).unwrap();
            assert!(wish.monitored);
            assert_eq!(wish.ports.as_slice(), ports, "{json}");
            assert_eq!(wish.timeout_ms, timeout_ms, "{json}");
        }
    }

    #[test]
    fn values_that_nobody_can_do_are_refused_by_name() {
        for (json, name) in [
            (r#"{"port": 0}"#, "port: "),
            (r#"{"port": 65536}"#, "port: "),
            (r#"{"port": -1}"#, "port: "),
            (r#"{"port": 12.5}"#, "port: "),
            (r#"{"port": "123"}"#, "port: "),
            (r#"{"ports": []}"#, "port: "),
            (r#"{"ports": [1, 2, 3, 4, 5, 6, 7, 8, 9]}"#, "port: "),
            (r#"{"timeout": 0}"#, "timeout: "),
            (r#"{"timeout": 0.09}"#, "timeout: "),
            (r#"{"timeout": 60.1}"#, "timeout: "),
            (r#"{"timeout": -2}"#, "timeout: "),
            (r#"{"timeout": 1e300}"#, "timeout: "),
            (r#"{"timeout": "2s"}"#, "timeout: "),
        ] {
            let problem = wish(json).unwrap_err().to_string();
            assert!(problem.starts_with(name), "{json}: {problem}");
        }
        assert!(serde_json::from_str::<Start>(r#"{"prot": 123}"#).is_err());
    }

    #[test]
    fn several_are_named_or_all_are_meant() {
        let which = |json: &str| serde_json::from_str::<StopSeveral>(json).unwrap().which();
        assert_eq!(which(r#"{"all": true}"#).unwrap(), Which::All);
        let named = which(r#"{"interfaces": ["eth0"]}"#).unwrap();
        assert_eq!(named, Which::Named(vec!["eth0".to_owned()]));
        for json in [
            "{}",
            r#"{"all": false}"#,
            r#"{"interfaces": ["a"], "all": true}"#,
        ] {
            assert!(which(json).is_err(), "{json}");
        }
    }
}
