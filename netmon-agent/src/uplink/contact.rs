//! What the uplink knows of its server, for whoever asks the agent how it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;

/// The connection there is, or the last one there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Whether it is there.
    pub connected: bool,
    /// The server's address as it is configured.
    pub address: Option<String>,
    /// The server's release.
    pub server_version: Option<String>,
    /// Since when it has been as it is, ns since 1970.
    pub since_unix_ns: Option<i64>,
    /// When the server last said what it has stored, ns since 1970.
    pub acknowledged_unix_ns: Option<i64>,
    /// Why there is none.
    pub last_error: Option<String>,
    /// Whether the server that was connected last stores folds of NTP exchanges.
    pub stores_folds: bool,
    /// Whether it stores no sightings of watched addresses.
    pub refuses_sightings: bool,
}

/// What a server stores besides what every one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Folds of NTP exchanges.
    pub folds: bool,
    /// Sightings of watched addresses.
    pub sightings: bool,
}

/// The newest [`Contact`], shared.
#[derive(Debug, Default)]
pub struct Contacts(Mutex<Contact>);

impl Contacts {
    /// As it is now.
    pub fn now(&self) -> Contact {
        self.lock().clone()
    }

    /// Whether the server that was connected last stores folds of NTP exchanges.
    pub fn stores_folds(&self) -> bool {
        self.lock().stores_folds
    }

    /// Whether the server that was connected last stores no sightings of watched addresses.
    pub fn refuses_sightings(&self) -> bool {
        self.lock().refuses_sightings
    }

    /// A server has welcomed us.
    pub(super) fn connected(&self, address: &str, server_version: &str, takes: Takes) {
        let mut contact = self.lock();
        contact.stores_folds = takes.folds;
        contact.refuses_sightings = !takes.sightings;
        contact.connected = true;
        contact.address = Some(address.to_owned());
        contact.server_version = Some(server_version.to_owned());
        contact.since_unix_ns = Some(clock::now().unix_ns);
        contact.last_error = None;
    }

    /// The server has said what it has stored.
    pub fn acknowledged(&self) {
        self.lock().acknowledged_unix_ns = Some(clock::now().unix_ns);
    }

    /// The connection has ended.
    pub(super) fn lost(&self, reason: &str) {
        let mut contact = self.lock();
        contact.connected = false;
        contact.since_unix_ns = Some(clock::now().unix_ns);
        contact.last_error = Some(reason.to_owned());
    }

    /// An attempt did not become a connection.
    pub(super) fn failed(&self, address: &str, error: &str) {
        let mut contact = self.lock();
        contact.address = Some(address.to_owned());
        contact.last_error = Some(error.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Contact> {
        // Whoever panicked has left a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Takes = Takes {
        folds: true,
        sightings: true,
    };

    #[test]
    fn an_ended_connection_is_remembered_with_its_reason() {
        let contacts = Contacts::default();
        contacts.connected("192.0.2.1:8082", "1.2.3", ALL);
        contacts.acknowledged();
        contacts.lost("closed by peer");
        let contact = contacts.now();
        assert!(!contact.connected && contact.acknowledged_unix_ns.is_some());
        assert_eq!(contact.last_error.as_deref(), Some("closed by peer"));
        assert!(
            contacts.stores_folds(),
            "until another server says otherwise"
        );
        contacts.connected("192.0.2.2:8082", "1.2.4", Takes::default());
        assert_eq!(contacts.now().last_error, None);
        assert!(!contacts.stores_folds());
    }
}
