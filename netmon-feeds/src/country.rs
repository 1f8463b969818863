//! Codes of countries.

/// ISO 3166-1 alpha-2 in capitals. `UK` is what some write for `GB`, for which it is reserved.
pub(crate) fn code(text: &[u8]) -> Option<[u8; 2]> {
    let code: [u8; 2] = text.try_into().ok()?;
    match code.map(|letter| letter.to_ascii_uppercase()) {
        [b'U', b'K'] => Some(*b"GB"),
        code if code.iter().all(u8::is_ascii_uppercase) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uk_is_gb() {
        for (text, expected) in [
            ("UK", Some(*b"GB")),
            ("uk", Some(*b"GB")),
            ("gb", Some(*b"GB")),
            ("CN", Some(*b"CN")),
            ("", None),
            ("-", None),
            ("--", None),
            ("CHN", None),
        ] {
            assert_eq!(code(text.as_bytes()), expected, "{text}");
        }
    }
}
