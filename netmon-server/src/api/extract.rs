//! axum's extractors with their rejections turned into problems.

use std::error::Error;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, Uri, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query string. Unlike axum's own [`Query`] it refuses what is not UTF-8 instead of replacing
/// it, and refuses NUL, which PostgreSQL cannot hold in text.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check_encoding(parts.uri.query().unwrap_or_default()).map_err(Problem::InvalidQuery)?;
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(Problem::InvalidQuery(root_cause(&rejection))),
        }
    }
}

/// The variable segments of the path.
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check_path(&parts.uri)?;
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(Problem::InvalidPath(root_cause(&rejection))),
        }
    }
}

/// Longest body unless it is said, octets.
const MAX_BODY: usize = 256 << 10;

/// A body of JSON. It must say that it is JSON: browsers send that to another site only if the site
/// agrees, which this one never does, so no page that an operator looks at can change anything here.
/// No longer than `MAX` octets.
pub struct Posted<T, const MAX: usize = MAX_BODY>(pub T);

impl<T: DeserializeOwned, S: Send + Sync, const MAX: usize> FromRequest<S> for Posted<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::NotJson);
        }
        let body = to_bytes(request.into_body(), MAX).await;
        let body = body.map_err(|_| Problem::InvalidBody("it is too long".to_owned()))?;
        let text = match body.is_empty() {
            true => b"{}",
            false => body.as_ref(),
        };
        let parsed = serde_json::from_slice(text);
        parsed
            .map(Self)
            .map_err(|error| Problem::InvalidBody(error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn check_path(uri: &Uri) -> Result<(), Problem> {
    check_encoding(uri.path()).map_err(Problem::InvalidPath)
}

/// Percent-decodes and says what is wrong with the result.
fn check_encoding(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    if decoded.contains(&0) {
        return Err("it contains a NUL character".to_owned());
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err("it is not UTF-8 after percent-decoding".to_owned()),
    }
}

/// The innermost error: axum wraps serde's message in its own type names.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoded_text_must_be_utf8_without_nul() {
        for (text, fits) in [
            ("", true),
            ("a=b&c=%C3%A9", true),
            ("a=100%", true),
            ("a=%zz", true),
            ("a=%FF", false),
            ("a=%C3", false),
            ("a=%00", false),
        ] {
            assert_eq!(check_encoding(text).is_ok(), fits, "{text}");
        }
    }
}
