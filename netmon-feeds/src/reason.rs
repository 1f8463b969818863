//! Why a line cannot be stored.

/// Why a line cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It has none of the forms that are known, or not the one that was stated.
    Unrecognised,
    /// Longer than [`crate::MAX_LINE`] octets.
    LineTooLong,
    /// It holds NUL octets.
    Nul,
    /// JSON that cannot be read.
    BadJson,
    /// A quotation mark that never ends.
    BadQuotes,
    /// A row of a table whose head did not come.
    NoHeader,
    /// CEF without its seven bars.
    BadCef,
    /// It holds no address.
    NoAddress,
    /// What stands in the address's place is none.
    BadAddress,
    /// A host name stands in the address's place.
    HostName,
    /// A URL or file hash stands in the address's place.
    NotAnAddress,
    /// A network stands in the address's place.
    Network,
    /// An address with a zone id, which means nothing elsewhere.
    ZoneId,
    /// A port that is none.
    BadPort,
    /// A time that is none.
    BadTime,
    /// A time before those that are kept.
    TooOld,
    /// A time in the future.
    InFuture,
    /// It names another family.
    OtherFamily,
    /// An address for private networks, RFC 1918, RFC 4193, RFC 6598.
    Private,
    /// An address of the host itself.
    Loopback,
    /// An address that holds on one link only.
    LinkLocal,
    /// `0.0.0.0/8` or `::`.
    Unspecified,
    /// `255.255.255.255`.
    Broadcast,
    /// An address of a group.
    Multicast,
    /// An address for documentation.
    Documentation,
    /// Another address that nobody may use.
    Reserved,
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 26] = [
        Self::Unrecognised,
        Self::LineTooLong,
        Self::Nul,
        Self::BadJson,
        Self::BadQuotes,
        Self::NoHeader,
        Self::BadCef,
        Self::NoAddress,
        Self::BadAddress,
        Self::HostName,
        Self::NotAnAddress,
        Self::Network,
        Self::ZoneId,
        Self::BadPort,
        Self::BadTime,
        Self::TooOld,
        Self::InFuture,
        Self::OtherFamily,
        Self::Private,
        Self::Loopback,
        Self::LinkLocal,
        Self::Unspecified,
        Self::Broadcast,
        Self::Multicast,
        Self::Documentation,
        Self::Reserved,
    ];

    /// Its stable name, for programs.
    pub const fn code(self) -> &'static str {
        self.texts().0
    }

    /// What is wrong, for people.
    pub const fn explanation(self) -> &'static str {
        self.texts().1
    }

    /// The reason of a [`Self::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Unrecognised => (
                "unrecognised",
                "the line has none of the forms that are known, or not the one that was stated",
            ),
            Self::LineTooLong => ("line_too_long", "the line is longer than 64 KiB"),
            Self::Nul => (
                "nul",
                "the line holds NUL octets: a damaged file, or UTF-16 where UTF-8 is needed",
            ),
            Self::BadJson => ("bad_json", "the line is not one whole JSON object"),
            Self::BadQuotes => ("bad_quotes", "a quotation mark in the line never ends"),
            Self::NoHeader => (
                "no_header",
                "no line with the names of the columns came before",
            ),
            Self::BadCef => ("bad_cef", "the line is not CEF with its seven bars"),
            Self::NoAddress => ("no_address", "the line holds no address"),
            Self::BadAddress => ("bad_address", "not an IPv4 or IPv6 address"),
            Self::HostName => ("host_name", "a host name, not an address"),
            Self::NotAnAddress => ("not_an_address", "a hash or other mark, not an address"),
            Self::Network => ("network", "a network, not an address"),
            Self::ZoneId => (
                "zone_id",
                "an address with a zone id, which means nothing elsewhere",
            ),
            Self::BadPort => ("bad_port", "the port is not a number from 0 to 65535"),
            Self::BadTime => ("bad_time", "the time cannot be read"),
            Self::TooOld => (
                "too_old",
                "the time lies before those of which communications are kept",
            ),
            Self::InFuture => ("in_future", "the time is more than a day ahead"),
            Self::OtherFamily => ("other_family", "the line names another family"),
            Self::Private => ("private", "an address for private networks"),
            Self::Loopback => ("loopback", "an address of the host itself"),
            Self::LinkLocal => ("link_local", "an address that holds on one link only"),
            Self::Unspecified => ("unspecified", "an address that stands for none"),
            Self::Broadcast => ("broadcast", "the broadcast address"),
            Self::Multicast => ("multicast", "an address of a group"),
            Self::Documentation => ("documentation", "an address for documentation"),
            Self::Reserved => ("reserved", "an address that nobody may use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = Reason::ALL.map(Reason::code).into_iter().collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert_eq!(Reason::ALL[reason as usize], reason);
        }
    }
}
