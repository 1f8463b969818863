//! Which data places come from.

use ring::digest;

/// The data and the settings that decide where an address is.
///
/// Two atlases of equal fingerprints locate every address alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    /// SHA-256 over the sources in their order and the settings, 64 hexadecimal digits.
    pub fingerprint: String,
    /// For people: the sources with their versions.
    pub description: String,
}

/// Goes up whenever the same files would give another place: other codes for names, another way
/// of putting sources together.
const RULES: &str = "netmon-geo rules 1";

impl Edition {
    /// Of sources by the digests of their content and their descriptions.
    pub(crate) fn new<'a>(
        sources: impl Iterator<Item = (&'a str, &'a str)>,
        setting: &str,
    ) -> Self {
        let mut text = format!("{RULES}\n{setting}\n");
        let mut descriptions = Vec::new();
        for (digest, description) in sources {
            text.push_str(digest);
            text.push('\n');
            descriptions.push(description);
        }
        Self {
            fingerprint: sha256(text.as_bytes()),
            description: format!(
                "{}; special regions: {setting}",
                descriptions.join(", then ")
            ),
        }
    }
}

/// The SHA-256 of octets, in hexadecimal digits.
pub(crate) fn sha256(octets: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, octets);
    let digits = digest.as_ref().iter();
    digits.map(|octet| format!("{octet:02x}")).collect()
}
