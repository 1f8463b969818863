//! `/api/docs`: Swagger UI from the binary.

use axum::http::StatusCode;

use crate::server::Server;

const FILES: [&str; 6] = [
    "",
    "index.css",
    "swagger-ui.css",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
];

#[tokio::test]
async fn the_page_consists_of_files_from_the_binary() {
    let server = Server::start().await;
    let redirect = server.get("/api/docs").await;
    assert_eq!(redirect.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.header("location"), "docs/");
    for file in FILES {
        let answer = server.get(&format!("/api/docs/{file}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
    }
}

#[tokio::test]
async fn the_page_names_no_other_host() {
    let server = Server::start().await;
    let page = server.get("/api/docs/").await;
    assert_eq!(page.header("content-type"), "text/html");
    for attribute in page.text().split(['"', '\'']) {
        assert!(!attribute.contains("//"), "{attribute}");
    }
    let initializer = server.get("/api/docs/swagger-initializer.js").await;
    assert!(
        initializer.text().contains(r#""url": "../openapi.json""#),
        "{}",
        initializer.text()
    );
    assert!(
        initializer.text().contains(r#""validatorUrl": "none""#),
        "{}",
        initializer.text()
    );
    assert!(
        !initializer.text().contains("//petstore"),
        "{}",
        initializer.text()
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_problem() {
    let server = Server::start().await;
    for file in [
        "nothing.js",
        "../openapi.json",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    ] {
        let answer = server.get(&format!("/api/docs/{file}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{file}");
        assert_eq!(answer.json()["code"], "unknown_path", "{file}");
    }
}
