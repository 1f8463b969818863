//! Cursors: the key of the last row of a page, sealed so that it fits only the list it came from.
//!
//! A token is base64url of a checksum and the key as JSON. The checksum covers the list and its
//! filters, so a token of another list, of other filters, or with a letter changed is recognised.
//! It keeps mistakes out, not forgers: a forged key only moves the reader within rows it may read.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

/// Longer tokens than this never leave the server.
const MAX_TOKEN_BYTES: usize = 1024;

/// The token was not made by this scope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token does not belong to this list")]
pub struct Foreign;

/// One list with one set of filters.
pub struct Scope(u64);

impl Scope {
    /// `filters` in a fixed order, with `None` for one that is not given.
    pub fn new(list: &str, filters: &[Option<&str>]) -> Self {
        let mut hash = fnv1a(FNV_OFFSET, list.as_bytes());
        for filter in filters {
            // 0xff and 0xfe occur in no UTF-8 text, so no two lists of filters look the same.
            hash = fnv1a(hash, if filter.is_some() { &[0xff] } else { &[0xfe] });
            hash = fnv1a(hash, filter.unwrap_or_default().as_bytes());
        }
        Self(hash)
    }

    /// The token that stands for `key`.
    pub fn seal(&self, key: &impl Serialize) -> String {
        let key = serde_json::to_vec(key).expect("keys are tuples of numbers and strings");
        let mut token = fnv1a(self.0, &key).to_be_bytes().to_vec();
        token.extend(key);
        BASE64_URL_SAFE_NO_PAD.encode(token)
    }

    /// The key that `token` stands for.
    pub fn open<K: DeserializeOwned>(&self, token: &str) -> Result<K, Foreign> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Foreign);
        }
        let token = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| Foreign)?;
        let (checksum, key) = token.split_first_chunk().ok_or(Foreign)?;
        if u64::from_be_bytes(*checksum) != fnv1a(self.0, key) {
            return Err(Foreign);
        }
        serde_json::from_slice(key).map_err(|_| Foreign)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// The 64-bit FNV-1a hash, continued from `hash`.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("interfaces", &[Some("0000000000000001"), None])
    }

    #[test]
    fn a_key_survives_the_round_trip() {
        let key = (7_i64, "eth0".to_owned());
        assert_eq!(scope().open(&scope().seal(&key)), Ok(key));
    }

    #[test]
    fn a_token_of_another_list_or_filter_is_foreign() {
        let token = scope().seal(&1);
        for other in [
            Scope::new("agents", &[Some("0000000000000001"), None]),
            Scope::new("interfaces", &[Some("0000000000000002"), None]),
            Scope::new("interfaces", &[None, Some("0000000000000001")]),
            Scope::new("interfaces", &[Some("0000000000000001"), Some("")]),
        ] {
            assert_eq!(other.open::<i64>(&token), Err(Foreign));
        }
    }

    #[test]
    fn every_changed_letter_and_every_shortening_is_noticed() {
        let token = scope().seal(&(1_700_000_000_000_000_i64, "eth0"));
        for at in 0..token.len() {
            let mut letters = token.clone().into_bytes();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(letters).unwrap();
            assert_eq!(
                scope().open::<(i64, String)>(&changed),
                Err(Foreign),
                "{changed}"
            );
            assert_eq!(scope().open::<(i64, String)>(&token[..at]), Err(Foreign));
        }
    }

    #[test]
    fn rubbish_is_foreign() {
        let long = "A".repeat(MAX_TOKEN_BYTES + 1);
        for token in ["", "!", "AAAA", "é", long.as_str()] {
            assert_eq!(scope().open::<i64>(token), Err(Foreign), "{token}");
        }
    }
}
