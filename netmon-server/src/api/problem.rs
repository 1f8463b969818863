//! What a request gets when it cannot be answered: RFC 9457 problem details with a stable code.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of [`Body`] (RFC 9457).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request is not answered. The text is shown to the caller, so it says what to do and
/// nothing of the inside.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("nothing is served here; /api/docs lists every path")]
    UnknownPath,
    #[error("this path answers the methods in the header Allow only")]
    MethodNotAllowed,
    #[error("the path is malformed: {0}")]
    InvalidPath(String),
    #[error("the query string is malformed: {0}")]
    InvalidQuery(String),
    #[error("send the header Content-Type: application/json and a body of JSON, {{}} at least")]
    NotJson,
    #[error("the body is not what it should be: {0}")]
    InvalidBody(String),
    #[error("{name}: {reason}")]
    InvalidParameter { name: &'static str, reason: String },
    #[error(
        "the cursor does not belong to this list and these filters; \
         take next_cursor as it is and repeat every other parameter, or start without a cursor"
    )]
    InvalidCursor,
    #[error("{points} points are more than {limit}; ask for a longer step or a shorter range")]
    TooManyPoints { points: i128, limit: i128 },
    #[error("no agent has the id or alias {0:?}; /api/v1/agents lists them")]
    UnknownAgent(String),
    #[error("several agents have the alias {alias:?}; name one by its id: {ids}")]
    AmbiguousAgent { alias: String, ids: String },
    #[error(
        "the agent has no interface {0:?}; /api/v1/agents/{{agent}}/interfaces lists those it has"
    )]
    UnknownInterface(String),
    #[error(
        "the agent has no interface {0:?}; /api/v1/agents/{{agent}}/interfaces lists those it has, \
         and \"force\": true is for one that is to come"
    )]
    InterfaceToCome(String),
    #[error(
        "no agent has an interface {0:?}; name the agent, with \"force\": true if the interface is to \
         come"
    )]
    NoAgentWithInterface(String),
    #[error("several agents have an interface {interface:?}; say which, by agent: {agents}")]
    AmbiguousInterface { interface: String, agents: String },
    #[error(
        "NTP would be looked for on {0} ports of this agent, and 8 are possible; take some ports out, \
         or stop the monitoring of interfaces that have others"
    )]
    TooManyPorts(usize),
    #[error(
        "the agent has wishes for 512 interfaces already; start some without port and time-out, which \
         need none"
    )]
    TooManyWishes,
    #[error("no NTP client with the address {0} was ever seen; /api/v1/ntp/clients lists them")]
    UnknownClient(String),
    #[error(
        "no botnet family has the name or alias {0:?}; GET /api/v1/botnets lists them, POST adds one"
    )]
    UnknownFamily(String),
    #[error("{0}")]
    FamilyConflict(String),
    #[error("{0}")]
    KeyUsed(String),
    #[error("the family has no node {0}; /api/v1/addresses/{0} says which families have it")]
    UnknownNode(std::net::IpAddr),
    #[error(
        "{0} nodes would have to be sorted, and at most {1} are; narrow the list by cidr, country, \
         province or city, or leave out sort"
    )]
    TooManyNodes(i64, i64),
    #[error(
        "no audit of botnets was made yet: one is made every botnets.audit, and by \
         `netmon-server botnet audit`"
    )]
    NoBotnetAudit,
    #[error("the encoding {0:?} is not known; send gzip, zstd, or no Content-Encoding")]
    UnknownEncoding(String),
    #[error("a page of another site asks for this, and only programs and pages of this server may")]
    ForeignOrigin,
    #[error("{0} logs are received already, and no more at once; try again in a moment")]
    TooManyUploads(usize),
    #[error(
        "the body cannot be read to its end ({reason}); its first {stored} lines are stored, and sent \
         again with Idempotency-Key: {key} the same lines are not stored twice"
    )]
    BrokenUpload {
        reason: String,
        stored: u64,
        key: String,
    },
    #[error(
        "nothing came for {seconds} seconds; the first {stored} lines are stored, and sent again with \
         Idempotency-Key: {key} the same lines are not stored twice"
    )]
    UploadTimeout {
        seconds: u64,
        stored: u64,
        key: String,
    },
    #[error(
        "the database cannot take more for now; the first {stored} lines are stored: send the same body \
         again with Idempotency-Key: {key}, and none is stored twice"
    )]
    UploadInterrupted { stored: u64, key: String },
    #[error("nothing came from the agent in the last {0} seconds; see whether it is connected")]
    NoLiveData(u64),
    #[error("no reading of the host is stored; see whether the agent's system.interval is off")]
    NoSystemData,
    #[error(
        "no audit was made yet: one is made every audit.interval, and by `netmon-server audit`"
    )]
    NoAudit,
    #[error("the server is starting; try again in a moment")]
    NotReady,
    #[error("the database cannot be reached; try again in a moment")]
    DatabaseUnavailable,
    #[error("as many costly questions are being answered as may be at once; try again in a moment")]
    Busy,
    #[error("an aggregation that was asked for is under way; wait for its end")]
    AggregationRunning,
    #[error("the answer took too long; ask for a shorter range or fewer rows")]
    QueryTimeout,
    #[error("the server failed; its log says why")]
    Internal,
}

/// An RFC 9457 problem.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The HTTP status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// Stable name of the problem, for programs; docs/api.md lists them.
    #[schema(example = "unknown_agent")]
    code: &'static str,
    /// What is wrong and what to do, for people.
    detail: String,
    /// The query parameter at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
}

impl Problem {
    /// The value of query parameter `name` cannot be used; `reason` says what it must be.
    pub fn parameter(name: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidParameter {
            name,
            reason: reason.into(),
        }
    }

    /// HTTP status and stable code.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::InvalidPath(_) => (StatusCode::BAD_REQUEST, "invalid_path"),
            Self::InvalidQuery(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::InvalidBody(_) => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::InvalidParameter { .. } => (StatusCode::BAD_REQUEST, "invalid_parameter"),
            Self::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid_cursor"),
            Self::TooManyPoints { .. } => (StatusCode::BAD_REQUEST, "too_many_points"),
            Self::UnknownAgent(_) => (StatusCode::NOT_FOUND, "unknown_agent"),
            Self::AmbiguousAgent { .. } => (StatusCode::CONFLICT, "ambiguous_agent"),
            Self::UnknownInterface(_)
            | Self::InterfaceToCome(_)
            | Self::NoAgentWithInterface(_) => (StatusCode::NOT_FOUND, "unknown_interface"),
            Self::AmbiguousInterface { .. } => (StatusCode::CONFLICT, "ambiguous_interface"),
            Self::TooManyPorts(_) => (StatusCode::CONFLICT, "too_many_ports"),
            Self::TooManyWishes => (StatusCode::CONFLICT, "too_many_wishes"),
            Self::UnknownClient(_) => (StatusCode::NOT_FOUND, "unknown_client"),
            Self::UnknownFamily(_) => (StatusCode::NOT_FOUND, "unknown_family"),
            Self::FamilyConflict(_) => (StatusCode::CONFLICT, "family_conflict"),
            Self::KeyUsed(_) => (StatusCode::CONFLICT, "key_used"),
            Self::UnknownNode(_) => (StatusCode::NOT_FOUND, "unknown_node"),
            Self::TooManyNodes(..) => (StatusCode::BAD_REQUEST, "too_many_nodes"),
            Self::NoBotnetAudit => (StatusCode::NOT_FOUND, "no_audit"),
            Self::UnknownEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::TooManyUploads(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads"),
            Self::BrokenUpload { .. } => (StatusCode::BAD_REQUEST, "broken_upload"),
            Self::UploadTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "upload_timeout"),
            Self::UploadInterrupted { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "upload_interrupted")
            }
            Self::NoLiveData(_) => (StatusCode::NOT_FOUND, "no_live_data"),
            Self::NoSystemData => (StatusCode::NOT_FOUND, "no_system_data"),
            Self::NoAudit => (StatusCode::NOT_FOUND, "no_audit"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::DatabaseUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::AggregationRunning => (StatusCode::CONFLICT, "aggregation_running"),
            Self::QueryTimeout => (StatusCode::SERVICE_UNAVAILABLE, "query_timeout"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        let problem = match &error {
            Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed => {
                Self::DatabaseUnavailable
            }
            Error::Database(database) => match database.code().as_deref() {
                // query_canceled: statement_timeout.
                Some("57014") => Self::QueryTimeout,
                // Shutdown, crash, start, too many connections, connection exceptions.
                Some("57P01" | "57P02" | "57P03" | "53300") => Self::DatabaseUnavailable,
                Some(code) if code.starts_with("08") => Self::DatabaseUnavailable,
                _ => Self::Internal,
            },
            _ => Self::Internal,
        };
        match problem {
            Self::Internal => tracing::error!(%error, "a query of the API failed"),
            _ => tracing::warn!(%error, "a query of the API was not answered"),
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let body = Body {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code,
            detail: self.to_string(),
            parameter: match self {
                Self::InvalidParameter { name, .. } => Some(name),
                Self::InvalidCursor => Some("cursor"),
                Self::TooManyPoints { .. } => Some("step"),
                Self::TooManyNodes(..) => Some("sort"),
                _ => None,
            },
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
