//! Whether a page of another site asks.
//!
//! A body of text may be sent by any page that an operator looks at, without asking anybody. But
//! browsers say in `Origin` who asks, and nobody else sends it.

use axum::http::{HeaderMap, Uri, header};

use crate::api::problem::Problem;

pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Uri>().ok());
    let asks = origin.as_ref().and_then(Uri::authority);
    let asked = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match asks.zip(asked) {
        Some((asks, asked)) if asks.as_str().eq_ignore_ascii_case(asked) => Ok(()),
        _ => Err(Problem::ForeignOrigin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_may_ask() {
        for (origin, host, allowed) in [
            (None, "127.0.0.1:8080", true),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Some("https://Netmon.example"), "netmon.example", true),
            (Some("https://elsewhere.example"), "127.0.0.1:8080", false),
            (Some("http://127.0.0.1:8081"), "127.0.0.1:8080", false),
            (Some("null"), "127.0.0.1:8080", false),
            (Some(""), "127.0.0.1:8080", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(check(&headers).is_ok(), allowed, "{origin:?} {host}");
        }
    }
}
