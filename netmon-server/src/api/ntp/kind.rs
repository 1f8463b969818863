//! How request and response of an exchange fit together: the filter `match`.

use netmon_common::wire::NtpMatch;
use utoipa::ToSchema;

use crate::api::problem::Problem;

/// How request and response of an exchange fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = NtpMatch, rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "names the values in the OpenAPI description; the store writes them"
)]
pub enum Match {
    /// The response's origin timestamp is the request's transmit timestamp.
    Basic,
    /// No response within the time-out.
    Unanswered,
    /// The response came after the time-out.
    Late,
    /// The client had asked again before this request's answer came.
    Superseded,
    /// A second, identical response.
    DuplicateResponse,
    /// A second response to the same request with other timestamps.
    ConflictingResponse,
    /// A response on a known path whose origin timestamp fits no request.
    OriginMismatch,
    /// A response without any request.
    UnsolicitedResponse,
    /// The sensor was stopped before the response came or the time-out was over.
    SensorStopped,
    /// The response's origin timestamp is the request's receive timestamp (RFC 9769).
    Interleaved,
    /// Origin and transmit timestamp are zero: paired by order alone.
    Weak,
    /// A request that was there a moment before, octet by octet.
    DuplicateRequest,
    /// An ICMP error said that the request goes nowhere.
    Refused,
    /// A packet of mode 1 or 2 and the one that it answers.
    Symmetric,
    /// A packet of mode 5.
    Broadcast,
}

/// Parses the parameter `match`: a value of [`NtpMatch`] in lower case without its prefix.
pub fn parse(text: Option<&str>) -> Result<Option<&str>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let lower = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let name = format!("NTP_MATCH_{}", text.to_ascii_uppercase());
    match NtpMatch::from_str_name(&name).filter(|m| lower && *m != NtpMatch::Unspecified) {
        Some(_) => Ok(Some(text)),
        None => Err(Problem::parameter(
            "match",
            format!("it must be one of {}", names()),
        )),
    }
}

fn names() -> String {
    let known = (1..).map_while(|number| NtpMatch::try_from(number).ok());
    let names: Vec<_> = known
        .map(|m| {
            m.as_str_name()
                .trim_start_matches("NTP_MATCH_")
                .to_ascii_lowercase()
        })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn the_description_names_what_the_wire_knows() {
        let schema = serde_json::to_value(Match::schema()).unwrap();
        let described: Vec<_> = schema["enum"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(described.join(", "), names());
    }

    #[test]
    fn only_names_in_lower_case_are_known() {
        for (text, known) in [
            ("basic", true),
            ("unsolicited_response", true),
            ("unspecified", false),
            ("Basic", false),
            ("", false),
            ("1", false),
        ] {
            assert_eq!(parse(Some(text)).is_ok(), known, "{text}");
        }
    }
}
