//! Swagger UI, served from the binary: no page of it reaches for another host.

use std::sync::{Arc, LazyLock};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_swagger_ui::Config;

use super::{extract::Segments, problem::Problem};

/// Relative, so that the page works behind a proxy that adds a prefix. Without "none" the page
/// would send the description to validator.swagger.io.
static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("../openapi.json").validator_url("none")));

/// Lets the browser refuse whatever would come from elsewhere; Swagger UI sets styles inline.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";

/// Sends to the page: its files are relative to the folder.
pub async fn redirect() -> impl IntoResponse {
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, "docs/")],
    )
}

/// The page itself.
pub async fn index() -> Response {
    file("index.html")
}

/// What the page consists of.
pub async fn asset(Segments(path): Segments<String>) -> Response {
    file(&path)
}

fn file(path: &str) -> Response {
    match utoipa_swagger_ui::serve(path, CONFIG.clone()) {
        Ok(Some(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type),
                (
                    header::CONTENT_SECURITY_POLICY,
                    CONTENT_SECURITY_POLICY.to_owned(),
                ),
            ];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => Problem::UnknownPath.into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a file of Swagger UI");
            Problem::Internal.into_response()
        }
    }
}
