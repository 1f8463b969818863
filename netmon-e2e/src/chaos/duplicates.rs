//! Batches delivered twice and in disorder: what lies in the agent's spool is sent by a connection
//! of our own, with the agent's certificate, while the agent sends it as well.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_agent::{spool::read_batches, uplink::Identity};
use netmon_common::wire::{Hello, SERVER_NAME, Uplink, uplink};
use prost::{Message as _, bytes::Bytes};
use quinn::{ClientConfig, Endpoint, VarInt};
use rand::{rngs::StdRng, seq::SliceRandom as _};

use super::site::Site;

/// Most batches sent in one go, each twice.
const MOST: usize = 150;

/// The server may be away: then nothing is delivered, which is no fault of anybody.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the server has for what was sent.
const LINGER: Duration = Duration::from_millis(400);

/// Sends what is in the spool now, in any order.
pub fn send(site: &Site, random: &mut StdRng) -> Result<()> {
    let mut batches = read_batches(&site.spool()).unwrap_or_default();
    batches.shuffle(random);
    batches.truncate(MOST);
    let mut twice: Vec<_> = batches.iter().chain(&batches).cloned().collect();
    twice.shuffle(random);
    let Some(epoch) = twice.first().and_then(epoch) else {
        return Ok(());
    };
    let crypto = Identity::new(&site.identity()).load()?.crypto;
    let server: SocketAddr = site.server_address().parse()?;
    site.place.run_inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
            endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
            let delivery = deliver(&endpoint, server, epoch, twice);
            // Whatever stops it may have been stopped on purpose.
            let _ = tokio::time::timeout(PATIENCE, delivery).await;
            endpoint.close(VarInt::from_u32(0), b"done");
            let _ = tokio::time::timeout(LINGER, endpoint.wait_idle()).await;
            Ok(())
        })
    })
}

async fn deliver(
    endpoint: &Endpoint,
    server: SocketAddr,
    epoch: u64,
    batches: Vec<Bytes>,
) -> Result<()> {
    let connection = endpoint.connect(server, SERVER_NAME)?.await?;
    let (mut control, _welcome) = connection.open_bi().await?;
    let hello = Hello {
        hostname: "chaos".to_owned(),
        alias: "chaos".to_owned(),
        epoch,
        ..Hello::default()
    };
    control
        .write_all(&hello.encode_length_delimited_to_vec())
        .await?;
    for batch in batches {
        let mut stream = connection.open_uni().await?;
        stream.write_all(&batch).await?;
        stream.finish().context("the stream is closed")?;
    }
    tokio::time::sleep(LINGER).await;
    Ok(())
}

fn epoch(message: &Bytes) -> Option<u64> {
    match Uplink::decode(message.clone()).ok()?.message? {
        uplink::Message::Batch(batch) => Some(batch.epoch),
        uplink::Message::Live(_) => None,
    }
}
