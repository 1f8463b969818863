//! The whole route table, and its OpenAPI description beside it.

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tokio::time::timeout;
use utoipa::OpenApi;

use super::{
    Api, ApiState, REQUEST_TIMEOUT, agents, audit, bandwidth, botnets, docs, geo, health, metrics,
    ntp, openapi, openapi::CommonErrors, problem::Problem, system, watch,
};

/// Stored data, answered once the database is ready.
fn data() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/api/v1/agents", get(agents::list)),
        ("/api/v1/agents/{agent}", get(agents::show)),
        ("/api/v1/agents/{agent}/live", get(agents::live::show)),
        ("/api/v1/agents/{agent}/bandwidth", get(bandwidth::of_agent)),
        (
            "/api/v1/agents/{agent}/interfaces",
            get(agents::interfaces::list),
        ),
        (
            "/api/v1/agents/{agent}/interfaces/{name}/bandwidth",
            get(bandwidth::of_interface),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces",
            get(ntp::monitoring::list_of_agent),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces/start",
            post(ntp::monitoring::change::start_several_of_agent),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces/stop",
            post(ntp::monitoring::change::stop_several_of_agent),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces/{name}",
            get(ntp::monitoring::show_of_agent),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces/{name}/start",
            post(ntp::monitoring::change::start_of_agent),
        ),
        (
            "/api/v1/agents/{agent}/ntp/interfaces/{name}/stop",
            post(ntp::monitoring::change::stop_of_agent),
        ),
        ("/api/v1/agents/{agent}/system", get(system::show)),
        ("/api/v1/agents/{agent}/system/latest", get(system::latest)),
        ("/api/v1/agents/{agent}/watch", get(watch::of_agent)),
        ("/api/v1/audit", get(audit::show)),
        (
            "/api/v1/botnets/{family}/watch",
            get(watch::show)
                .put(watch::set)
                .delete(watch::delete)
                .layer(DefaultBodyLimit::max(watch::MAX_BYTES)),
        ),
        ("/api/v1/geo/{ip}", get(geo::show)),
        ("/api/v1/addresses/{ip}", get(botnets::addresses::show)),
        (
            "/api/v1/botnets",
            get(botnets::families::list).post(botnets::families::add),
        ),
        (
            "/api/v1/botnets/aggregations",
            get(botnets::aggregations::list).post(botnets::aggregations::run),
        ),
        ("/api/v1/botnets/audit", get(botnets::audit::show)),
        (
            "/api/v1/botnets/statistics",
            get(botnets::statistics::summary::of_several),
        ),
        (
            "/api/v1/botnets/statistics/{by}",
            get(botnets::statistics::of_several),
        ),
        (
            "/api/v1/botnets/{family}",
            get(botnets::families::show)
                .patch(botnets::families::change)
                .delete(botnets::families::remove),
        ),
        (
            "/api/v1/botnets/{family}/aggregations",
            get(botnets::aggregations::list_of_family).post(botnets::aggregations::run_of_family),
        ),
        (
            "/api/v1/botnets/{family}/audit",
            get(botnets::audit::of_family),
        ),
        ("/api/v1/botnets/{family}/export", get(botnets::export::run)),
        ("/api/v1/botnets/{family}/nodes", get(botnets::nodes::list)),
        (
            "/api/v1/botnets/{family}/nodes/{ip}",
            get(botnets::node::show).delete(botnets::node::remove),
        ),
        (
            "/api/v1/botnets/{family}/nodes/{ip}/communications",
            get(botnets::node::communications::list),
        ),
        (
            "/api/v1/botnets/{family}/nodes/{ip}/timeline",
            get(botnets::node::timeline::show),
        ),
        (
            "/api/v1/botnets/{family}/sources",
            get(botnets::sources::list),
        ),
        (
            "/api/v1/botnets/{family}/statistics",
            get(botnets::statistics::summary::of_family),
        ),
        (
            "/api/v1/botnets/{family}/statistics/trend",
            get(botnets::trend::show),
        ),
        (
            "/api/v1/botnets/{family}/statistics/{by}",
            get(botnets::statistics::of_family),
        ),
        ("/api/v1/botnets/{family}/top", get(botnets::top::show)),
        (
            "/api/botnet-distribution",
            get(botnets::amounts::overview::distribution),
        ),
        ("/api/botnet-types", get(botnets::amounts::overview::types)),
        ("/api/city-amounts", get(botnets::amounts::cities)),
        (
            "/api/city-amounts/{province}",
            get(botnets::amounts::cities_of_province),
        ),
        ("/api/country-amounts", get(botnets::amounts::countries_too)),
        (
            "/api/node-stats/{family}",
            get(botnets::amounts::overview::node_stats),
        ),
        ("/api/province-amounts", get(botnets::amounts::provinces)),
        ("/api/upload-logs", post(botnets::upload_logs::upload)),
        ("/api/world-amounts", get(botnets::amounts::countries)),
        ("/api/v1/ntp/clients", get(ntp::clients::list)),
        ("/api/v1/ntp/cleanup", post(ntp::cleanup::run)),
        ("/api/v1/ntp/control", get(ntp::controls::list)),
        ("/api/v1/ntp/exchanges", get(ntp::exchanges::list)),
        ("/api/v1/ntp/export", post(ntp::export::run)),
        ("/api/v1/ntp/health", get(ntp::overview::health)),
        ("/api/v1/ntp/interfaces", get(ntp::overview::interfaces)),
        ("/api/v1/ntp/joined", get(ntp::joined::list)),
        (
            "/api/v1/ntp/joined/statistics",
            get(ntp::joined::statistics::show),
        ),
        ("/api/v1/ntp/search", post(ntp::search::clients)),
        ("/api/v1/ntp/servers", get(ntp::servers::list)),
        ("/api/v1/ntp/service", get(ntp::overview::service)),
        ("/api/v1/ntp/statistics", get(ntp::statistics::show)),
        ("/api/ntp/interfaces", get(ntp::monitoring::list)),
        (
            "/api/ntp/interfaces/start",
            post(ntp::monitoring::change::start_several),
        ),
        (
            "/api/ntp/interfaces/stop",
            post(ntp::monitoring::change::stop_several),
        ),
        ("/api/ntp/interfaces/{name}", get(ntp::monitoring::show)),
        (
            "/api/ntp/interfaces/{name}/start",
            post(ntp::monitoring::change::start),
        ),
        (
            "/api/ntp/interfaces/{name}/stop",
            post(ntp::monitoring::change::stop),
        ),
        ("/api/ntp/history/clients", get(ntp::history::list)),
        ("/api/ntp/history/clients/{ip}", get(ntp::history::show)),
        ("/api/ntp/history/cleanup", post(ntp::cleanup::history)),
        ("/api/ntp/history/export", post(ntp::export::history)),
        (
            "/api/ntp/history/health",
            get(ntp::overview::history_health),
        ),
        (
            "/api/ntp/history/interfaces/statistics",
            get(ntp::overview::history_interfaces),
        ),
        ("/api/ntp/history/search", post(ntp::search::history)),
        (
            "/api/ntp/history/service/statistics",
            get(ntp::overview::history_service),
        ),
    ]
}

/// Data on its way in: such a request takes as long as its body does, and bounds itself.
fn uploads() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![(
        "/api/v1/botnets/{family}/logs",
        post(botnets::logs::upload).layer(DefaultBodyLimit::disable()),
    )]
}

/// About the server itself, answered always.
fn meta() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/livez", get(health::live)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(metrics::show)),
        ("/api/openapi.json", get(openapi::show)),
        ("/api/docs", get(docs::redirect)),
        ("/api/docs/", get(docs::index)),
        ("/api/docs/{*path}", get(docs::asset)),
    ]
}

/// Everything above as OpenAPI describes it; a test holds the two lists together.
#[derive(OpenApi)]
#[openapi(
    info(title = "netmon", description = "Bandwidth, NTP traffic and botnets."),
    paths(
        agents::list,
        agents::show,
        agents::live::show,
        bandwidth::of_agent,
        agents::interfaces::list,
        bandwidth::of_interface,
        system::show,
        system::latest,
        watch::of_agent,
        watch::show,
        watch::set,
        watch::delete,
        ntp::monitoring::list,
        ntp::monitoring::show,
        ntp::monitoring::change::start,
        ntp::monitoring::change::stop,
        ntp::monitoring::change::start_several,
        ntp::monitoring::change::stop_several,
        ntp::monitoring::list_of_agent,
        ntp::monitoring::show_of_agent,
        ntp::monitoring::change::start_of_agent,
        ntp::monitoring::change::stop_of_agent,
        ntp::monitoring::change::start_several_of_agent,
        ntp::monitoring::change::stop_several_of_agent,
        ntp::clients::list,
        ntp::controls::list,
        ntp::cleanup::run,
        ntp::exchanges::list,
        ntp::export::run,
        ntp::overview::health,
        ntp::overview::interfaces,
        ntp::joined::list,
        ntp::joined::statistics::show,
        ntp::search::clients,
        ntp::servers::list,
        ntp::overview::service,
        ntp::statistics::show,
        ntp::history::list,
        ntp::history::show,
        ntp::cleanup::history,
        ntp::export::history,
        ntp::overview::history_health,
        ntp::overview::history_interfaces,
        ntp::search::history,
        ntp::overview::history_service,
        audit::show,
        botnets::addresses::show,
        botnets::aggregations::list,
        botnets::aggregations::list_of_family,
        botnets::aggregations::run,
        botnets::aggregations::run_of_family,
        botnets::amounts::cities,
        botnets::amounts::cities_of_province,
        botnets::amounts::countries,
        botnets::amounts::countries_too,
        botnets::amounts::overview::distribution,
        botnets::amounts::overview::node_stats,
        botnets::amounts::provinces,
        botnets::amounts::overview::types,
        botnets::audit::of_family,
        botnets::audit::show,
        botnets::export::run,
        botnets::families::add,
        botnets::families::change,
        botnets::families::list,
        botnets::families::remove,
        botnets::families::show,
        botnets::logs::upload,
        botnets::node::communications::list,
        botnets::node::remove,
        botnets::node::show,
        botnets::node::timeline::show,
        botnets::nodes::list,
        botnets::sources::list,
        botnets::statistics::of_family,
        botnets::statistics::of_several,
        botnets::statistics::summary::of_family,
        botnets::statistics::summary::of_several,
        botnets::top::show,
        botnets::trend::show,
        botnets::upload_logs::upload,
        geo::show,
        health::live,
        health::ready,
        metrics::show,
        openapi::show,
    ),
    tags(
        (name = "agents", description = "Hosts and their interfaces"),
        (name = "bandwidth", description = "What interfaces carried"),
        (name = "system", description = "What hosts are busy with"),
        (name = "ntp", description = "NTP clients, servers and exchanges"),
        (name = "botnets", description = "Botnets: families, nodes, communications, statistics"),
        (name = "botnet amounts", description = "Botnets by place, as earlier front ends ask"),
        (name = "audit", description = "Whether the books balance"),
        (name = "meta", description = "The server itself"),
    ),
    modifiers(&CommonErrors),
)]
pub(super) struct Description;

/// The paths that are served, in axum's spelling.
pub fn paths() -> impl Iterator<Item = &'static str> {
    let all = data().into_iter().chain(uploads()).chain(meta());
    all.map(|(path, _)| path)
}

/// Serves `state`. Must be called within a tokio runtime.
pub fn router(state: ApiState) -> Router {
    let api = Api::from(state);
    let started = || from_fn_with_state(api.clone(), health::require_started);
    let data = table(data()).route_layer(started());
    let uploads = table(uploads()).route_layer(started());
    table(meta())
        .merge(data)
        .layer(from_fn(async |request: Request, next: Next| {
            within(REQUEST_TIMEOUT, next.run(request)).await
        }))
        .merge(uploads)
        .fallback(async || Problem::UnknownPath)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .with_state(api)
}

/// The response, or a problem when it does not come in time.
async fn within(limit: Duration, response: impl Future<Output = Response>) -> Response {
    timeout(limit, response).await.unwrap_or_else(|_| {
        tracing::warn!("a request to the API was not answered in {limit:?}");
        Problem::QueryTimeout.into_response()
    })
}

fn table(routes: Vec<(&'static str, MethodRouter<Api>)>) -> Router<Api> {
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, method)| {
            router.route(path, method)
        })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_request_that_hangs_is_answered_with_a_problem() {
        let response = within(Duration::from_millis(10), std::future::pending()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let response = within(Duration::from_secs(60), async { "here".into_response() }).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}
