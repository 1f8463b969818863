//! Exchanges that several agents saw, and what they say together.

mod row;
mod shape;
pub mod statistics;
mod sweep;

use std::str::FromStr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use self::{
    shape::JoinedExchange,
    sweep::{Bounds, Sweep},
};
use super::filter::{Wish, values};
use crate::{
    api::{
        Api,
        cursor::Scope,
        extract::Parameters,
        listing::{Listing, Page},
        problem::Problem,
        range::Range,
    },
    ntp::joined::{Kind, RowKey, Trust},
};

/// Sightings of one exchange are looked for so far apart: as long as agents wait for an answer.
const DEFAULT_TOLERANCE: Duration = Duration::seconds(5);
const MAX_TOLERANCE_SECONDS: f64 = 60.0;

/// Exchanges of each agent that one round looks at, at most.
const MAX_ROUND: usize = 5000;

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JoinedParameters {
    /// Seen by these agents, ids or aliases; by default those that ever saw the client and the server.
    #[serde(alias = "agents")]
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address, or a network. Behind a NAT the client has several: name each.
    #[param(example = "192.0.2.0/24")]
    client: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// The transmit timestamp of the request: one exchange of a list of exchanges.
    #[param(example = "eb2fd8a17f3c9d20")]
    request_transmit_timestamp: Option<String>,
    /// Whether one-way delays are also taken from sensors whose kernels do not say that their clocks are
    /// synchronised: `kernel` (no) or `assumed` (yes; the round trip alone bounds the error).
    #[param(value_type = Option<Clocks>, inline)]
    clocks: Option<String>,
    /// How far apart sensors' stamps of one exchange may lie, seconds: what clocks differ by, and what
    /// the way takes.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 60, default = 5)]
    tolerance: Option<String>,
    /// Last seen at this time or later; an hour before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Last seen before this time; the time of the first page by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Whose word counts about clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NtpClocks)]
pub enum Clocks {
    Kernel,
    Assumed,
}

/// Where a page begins: behind an exchange whose newest sighting has this key. The range of the first
/// page travels with it.
#[derive(Serialize, Deserialize)]
struct Key {
    from_us: i64,
    to_us: i64,
    row: RowKey,
}

/// What a request asks for, checked.
struct Question {
    wish: Wish,
    cookie: Option<u64>,
    trust: Trust,
    tolerance: Duration,
}

/// Exchanges that were seen at several places, newest first: what the way between each two took, there
/// and back, and the error of the server's clock apart from what the path adds to it.
///
/// Agents are read one by one and joined by the server. A page may have fewer items than its limit,
/// even none, while there is a next one.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/joined",
    tag = "ntp",
    operation_id = "list_joined_ntp_exchanges",
    params(JoinedParameters),
    responses((status = 200, description = "A page of the list", body = Listing<JoinedExchange>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<JoinedParameters>,
) -> Result<Json<Listing<JoinedExchange>>, Problem> {
    let question = parameters.question()?;
    let scope = || Scope::new("ntp_joined", &[Some(&question.fingerprint())]);
    let (limit, cursor) = (parameters.limit.as_deref(), parameters.cursor.as_deref());
    let page: Page<Key> = Page::parse(scope(), limit, cursor)?;
    let range = match &page.after {
        Some(key) => Range::from_unix_us(key.from_us, key.to_us).ok_or(Problem::InvalidCursor)?,
        None => parameters.range()?,
    };
    let limit = usize::try_from(page.fetch() - 1).unwrap_or(usize::MAX);
    let bounds = question.bounds(range);
    let mut sweep = Sweep::new(&api.database, &question.wish, bounds).await?;
    sweep.continue_behind(page.after.as_ref().map(|key| key.row));
    let mut items = Vec::new();
    let mut last = None;
    let mut round = limit;
    while items.len() < limit
        && let Some(groups) = sweep.next(round).await?
    {
        // Where agents have little in common, in greater steps.
        round = (2 * round).min(MAX_ROUND);
        for group in groups {
            if items.len() == limit {
                // The rest comes with the next page.
                sweep.continue_behind(last);
                break;
            }
            last = group.newest();
            if group.kind == Kind::Joined {
                items.push(JoinedExchange::new(group, question.trust, sweep.aliases()));
            }
        }
    }
    let (from_us, to_us) = range.unix_us();
    let key = |row| Key {
        from_us,
        to_us,
        row,
    };
    Ok(Json(Listing {
        items,
        next_cursor: sweep.position().map(|row| scope().seal(&key(row))),
    }))
}

impl From<Clocks> for Trust {
    fn from(clocks: Clocks) -> Self {
        match clocks {
            Clocks::Kernel => Self::Kernel,
            Clocks::Assumed => Self::Assumed,
        }
    }
}

impl JoinedParameters {
    fn question(&self) -> Result<Question, Problem> {
        Ok(Question {
            wish: wish(
                self.agent.as_deref(),
                self.interface.as_deref(),
                self.client.as_deref(),
                self.server.as_deref(),
            ),
            cookie: cookie(self.request_transmit_timestamp.as_deref())?,
            trust: trust(self.clocks.as_deref())?,
            tolerance: tolerance(self.tolerance.as_deref())?,
        })
    }

    fn range(&self) -> Result<Range, Problem> {
        let now = OffsetDateTime::now_utc();
        Range::parse(self.from.as_deref(), self.to.as_deref(), now)
    }
}

impl Question {
    /// What tells two questions apart.
    fn fingerprint(&self) -> String {
        let Self {
            wish,
            cookie,
            trust,
            tolerance,
        } = self;
        format!("{} {cookie:?} {trust:?} {tolerance}", wish.fingerprint())
    }

    fn bounds(&self, range: Range) -> Bounds {
        Bounds {
            range,
            tolerance: self.tolerance,
            cookie: self.cookie,
        }
    }
}

fn wish(
    agent: Option<&str>,
    interface: Option<&str>,
    client: Option<&str>,
    server: Option<&str>,
) -> Wish {
    Wish {
        agent: values(agent),
        interface: values(interface),
        client: values(client),
        server: values(server),
        ..Wish::default()
    }
}

fn cookie(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(Some).ok_or_else(|| {
        let reason = "it must be 16 hexadecimal digits";
        Problem::parameter("request_transmit_timestamp", reason)
    })
}

fn trust(text: Option<&str>) -> Result<Trust, Problem> {
    let clocks = match text {
        None | Some("kernel") => Clocks::Kernel,
        Some("assumed") => Clocks::Assumed,
        Some(_) => {
            let reason = "it must be kernel or assumed";
            return Err(Problem::parameter("clocks", reason));
        }
    };
    Ok(clocks.into())
}

fn tolerance(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(DEFAULT_TOLERANCE);
    };
    let seconds = f64::from_str(text)
        .ok()
        .filter(|seconds| (0.0..=MAX_TOLERANCE_SECONDS).contains(seconds));
    seconds.map(Duration::seconds_f64).ok_or_else(|| {
        let reason = format!("it must be 0 to {MAX_TOLERANCE_SECONDS} seconds");
        Problem::parameter("tolerance", reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_mean_something_are_taken() {
        for (text, expected) in [
            ("eb2fd8a17f3c9d20", Some(0xeb2f_d8a1_7f3c_9d20)),
            ("+b2fd8a17f3c9d20", None),
            ("eb2f", None),
            ("", None),
        ] {
            assert_eq!(cookie(Some(text)).ok().flatten(), expected, "{text}");
        }
        for (text, expected) in [
            ("0", Some(0)),
            ("0.25", Some(250)),
            ("60", Some(60_000)),
            ("61", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
        ] {
            let milliseconds = tolerance(Some(text)).map(Duration::whole_milliseconds);
            assert_eq!(milliseconds.ok(), expected, "{text}");
        }
        assert!(trust(Some("mine")).is_err());
    }
}
