//! The history of clients at the paths that earlier programs call.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    client::NtpClient,
    filter::{Wish, values},
    search::{Found, Search},
    selection::Selection,
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
};

/// Most rows of one client.
const MAX_ROWS: i64 = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParameters {
    /// Counted from 1.
    #[param(value_type = Option<u32>, minimum = 1, default = 1)]
    page: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 20)]
    page_size: Option<String>,
    /// An address, a network, or the first numbers of an IPv4 address.
    #[param(example = "192.168.")]
    search_ip: Option<String>,
    interface_name: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ClientSegment {
    /// The client's address.
    #[param(example = "192.0.2.1")]
    ip: String,
}

/// Everything known of one address.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpClientHistory)]
pub struct History {
    client: String,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    /// Exchanges that began with a request.
    session_count: i64,
    answered_count: i64,
    /// By agent, interface and server, at most 1000.
    items: Vec<NtpClient>,
}

/// Clients, page by page.
#[utoipa::path(
    get,
    path = "/api/ntp/history/clients",
    tag = "ntp",
    operation_id = "list_ntp_history",
    params(HistoryParameters),
    responses((status = 200, description = "A page of the clients", body = Found<NtpClient>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HistoryParameters>,
) -> Result<Json<Found<NtpClient>>, Problem> {
    let number = |name: &'static str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Problem::parameter(name, "it must be a whole number")),
        },
    };
    let search = Search {
        filter: Wish {
            client: values(parameters.search_ip.as_deref().filter(|ip| !ip.is_empty())),
            interface: values(
                parameters
                    .interface_name
                    .as_deref()
                    .filter(|i| !i.is_empty()),
            ),
            ..Wish::default()
        },
        page: number("page", parameters.page)?,
        page_size: number("page_size", parameters.page_size)?,
        ..Search::default()
    };
    Ok(Json(search.run(&api).await?))
}

/// One client.
#[utoipa::path(
    get,
    path = "/api/ntp/history/clients/{ip}",
    tag = "ntp",
    operation_id = "show_ntp_history",
    params(ClientSegment),
    responses((status = 200, description = "What is known of it", body = History))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(ClientSegment { ip }): Segments<ClientSegment>,
) -> Result<Json<History>, Problem> {
    let Ok(address) = ip.parse::<std::net::IpAddr>() else {
        return Err(Problem::InvalidPath(
            "its end is not an IP address".to_owned(),
        ));
    };
    let wish = Wish {
        client: vec![address.to_string()],
        ..Wish::default()
    };
    let selection = Selection::new(&api.database, &wish).await?;
    let items = selection.fetch(&api.database, None, 0, MAX_ROWS).await?;
    let times = items.iter().map(|row| (row.first_seen, row.last_seen));
    let span = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (first_seen, last_seen) = span.ok_or(Problem::UnknownClient(ip))?;
    Ok(Json(History {
        client: address.to_string(),
        first_seen,
        last_seen,
        session_count: items.iter().map(|row| row.session_count).sum(),
        answered_count: items.iter().map(|row| row.answered_count).sum(),
        items,
    }))
}
