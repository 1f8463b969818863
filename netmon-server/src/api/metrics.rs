//! `/metrics` for Prometheus.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::Api;
use crate::metrics::{CONTENT_TYPE, host};

/// The server's own metrics and the running totals of connected agents.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "meta",
    operation_id = "show_metrics",
    responses((status = 200, description = "Prometheus text format 0.0.4", content_type = "text/plain", body = String))
)]
pub async fn show(State(api): State<Api>) -> Response {
    let text = api.metrics.render(&api.live, api.max_interface_series)
        + &host::render(&api.live, api.max_system_series);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}
