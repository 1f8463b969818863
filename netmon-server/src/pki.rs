//! The built-in certificate authority: agents and server recognise each other by it.
//!
//! Its files lie in `data_dir/pki`: `ca.pem`, `ca-key.pem`, `server.pem`, `server-key.pem` and
//! `reset-key`.

mod agent;
mod authority;
mod files;
mod reset;
mod server;

use std::{io, path::PathBuf};

pub use self::{
    agent::{agent_id_of, issue_agent, renew_agent},
    reset::reset_key,
    server::{Refreshed, ServerCertificate, server_tls},
};

/// Why a certificate can be neither issued, loaded nor read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path:?}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The authority's certificate is there and its key is not.
    #[error(
        "{certificate:?} has lost its key {key:?}: restore the key from a backup, or remove the \
         certificate to start over (every agent then needs a new identity)"
    )]
    KeyLost {
        /// The authority's certificate.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// A file holds something else than a certificate or key in PEM form.
    #[error("{path:?} is not usable: {problem}; restore it from a backup")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library does not accept what was issued.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority's certificate does not serve to check the agents' certificates.
    #[error("cannot check agents' certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The name given to an agent does not fit into a certificate.
    #[error("an alias is 1 to 64 printable characters, not {0:?}")]
    Alias(String),
    /// The directory already holds a key, which is never overwritten.
    #[error(
        "{0:?} exists: choose another directory, or remove it to give the agent a new identity"
    )]
    IdentityExists(PathBuf),
    /// There is no identity to renew, or one of another authority.
    #[error("{path:?} cannot be renewed: {problem}; `issue-agent` makes a new identity")]
    Renewal {
        /// The agent's certificate.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate that does not say which agent it is for.
    #[error("the certificate names no agent: {0}")]
    NoAgent(String),
}
