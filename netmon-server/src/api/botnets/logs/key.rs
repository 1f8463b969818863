//! The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use axum::http::HeaderMap;

use crate::api::problem::Problem;

const NAME: &str = "Idempotency-Key";

const MAX_LENGTH: usize = 128;

/// The key that a request carries. The draft quotes it, and clients often do not: `"a"` is `a`.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let unquoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let key = unquoted.unwrap_or(text);
    let fits = (1..=MAX_LENGTH).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !fits || values.next().is_some() {
        let reason = "it must be one of 1 to 128 visible characters of ASCII";
        return Err(Problem::parameter(NAME, reason));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_text() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(NAME, value.parse().unwrap());
            }
            of(&headers).map_err(drop)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["a-1"]), Ok(Some("a-1".to_owned())));
        assert_eq!(of(&["\"a-1\""]), Ok(Some("a-1".to_owned())));
        let longest = "x".repeat(MAX_LENGTH);
        assert_eq!(of(&[&longest]), Ok(Some(longest.clone())));
        for wrong in ["", "\"\"", "a b", "\u{e4}", &"x".repeat(MAX_LENGTH + 1)] {
            assert_eq!(of(&[wrong]), Err(()), "{wrong}");
        }
        assert_eq!(of(&["a", "b"]), Err(()));
    }
}
