//! The sockets, bound before anything is started: a port in use is found at once.

use std::net::SocketAddr;

use quinn::Endpoint;
use tokio::net::TcpListener;

use super::ServeError;
use crate::{config::Config, ingest, pki};

pub(super) struct Listeners {
    pub(super) http: TcpListener,
    pub(super) http_address: SocketAddr,
    pub(super) quic: Endpoint,
}

impl Listeners {
    pub(super) async fn bind(
        config: &Config,
        tls: rustls::ServerConfig,
    ) -> Result<Self, ServeError> {
        let address = config.http.listen;
        let failed = |source| ServeError::Http { address, source };
        let http = TcpListener::bind(address).await.map_err(failed)?;
        let http_address = http.local_addr().map_err(failed)?;
        let quic = ingest::listen(config.quic.listen, tls, pki::reset_key(config)?)?;
        Ok(Self {
            http,
            http_address,
            quic,
        })
    }
}
