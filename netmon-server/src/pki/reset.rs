//! The key behind QUIC's stateless resets (RFC 9000 section 10.3).

use ring::hmac;

use super::{
    PkiError,
    authority::unusable,
    files::{self, Readers},
};
use crate::config::Config;

const DIGITS: usize = 64;

/// Makes the key at first use and keeps it: a server that was killed and started again proves to
/// its agents that their connections are gone, instead of letting them wait for the time-out.
pub fn reset_key(config: &Config) -> Result<hmac::Key, PkiError> {
    let dir = config.data_dir.join("pki");
    files::create_private_dir(&dir)?;
    let _lock = files::lock(&dir)?;
    let path = dir.join("reset-key");
    let text = match files::read(&path)? {
        Some(text) => text,
        None => {
            let text = rand::random::<[u8; DIGITS / 2]>()
                .map(|octet| format!("{octet:02x}"))
                .concat();
            files::replace(&path, &text, Readers::Owner)?;
            text
        }
    };
    let text = text.trim();
    if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unusable(&path)("not 64 hexadecimal digits"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let (first, second) = (reset_key(&config).unwrap(), reset_key(&config).unwrap());
        let tag = hmac::sign(&first, b"connection");
        hmac::verify(&second, b"connection", tag.as_ref()).unwrap();
    }
}
