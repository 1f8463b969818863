//! The OpenAPI description of the API, served at `/api/openapi.json` and committed as
//! `docs/openapi.json`.

use axum::{http::header, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::{ContentBuilder, Ref, ResponseBuilder, path::Operation},
};

use super::{problem, router::Description};

/// The description as it is served and committed: indented, with a newline at its end.
pub fn document() -> String {
    let json = Description::openapi().to_pretty_json();
    json.expect("the description consists of maps with text keys") + "\n"
}

/// The OpenAPI description of this API.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "meta",
    operation_id = "show_openapi",
    responses((status = 200, description = "An OpenAPI 3.1 document", content_type = "application/json"))
)]
pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

/// Gives every operation under `/api` its error responses, which are the same everywhere.
pub struct CommonErrors;

impl Modify for CommonErrors {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let paths = openapi.paths.paths.iter_mut();
        // The page and the description of the API are no part of it.
        let data = paths
            .filter(|(path, _)| path.starts_with("/api/") && !path.starts_with("/api/openapi"));
        for (_, item) in data {
            let operations = [
                &mut item.get,
                &mut item.post,
                &mut item.put,
                &mut item.patch,
                &mut item.delete,
            ];
            let operations = operations.into_iter().flatten();
            operations.for_each(add_default_response);
        }
    }
}

fn add_default_response(operation: &mut Operation) {
    let body = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let response = ResponseBuilder::new()
        .description("What is wrong (RFC 9457)")
        .content(problem::MEDIA_TYPE, body)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), response.into());
}
