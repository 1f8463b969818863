//! An agent reduced to its uplink.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use netmon_common::{
    watch::Held,
    wire::{
        Acknowledgement, Batch, Downlink, Hello, Live, NtpMonitoring, RefusalCause, SERVER_NAME,
        StreamState, Uplink, WatchUpdate, downlink, uplink,
    },
};
use netmon_server::agent_id::AgentId;
use prost::Message;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

pub struct Agent {
    pub id: AgentId,
    pub connection: Connection,
    pub control: SendStream,
    replies: RecvStream,
    wished: VecDeque<NtpMonitoring>,
    updates: VecDeque<WatchUpdate>,
}

/// What the server said of one batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Acknowledged(Vec<u64>),
    Refused(u64, RefusalCause, String),
}

/// A connection without a Hello; dropping the endpoint does not close it.
pub async fn dial(
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Connection, ConnectionError> {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint.connect(address, SERVER_NAME).unwrap().await
}

impl Agent {
    pub async fn connect(address: SocketAddr, config: ClientConfig, id: AgentId) -> Self {
        Self::try_connect(address, config, id).await.unwrap()
    }

    /// Connects and says Hello; returns with the server's Welcome.
    pub async fn try_connect(
        address: SocketAddr,
        config: ClientConfig,
        id: AgentId,
    ) -> Result<Self, String> {
        let connection = dial(address, config)
            .await
            .map_err(|error| error.to_string())?;
        Self::greet(connection, id).await
    }

    /// Says Hello on a connection; returns with the server's Welcome.
    pub async fn greet(connection: Connection, id: AgentId) -> Result<Self, String> {
        Self::greet_with(connection, id, Vec::new()).await
    }

    /// The same, with what the agent says of its streams.
    pub async fn greet_with(
        connection: Connection,
        id: AgentId,
        streams: Vec<StreamState>,
    ) -> Result<Self, String> {
        let hello = Hello {
            streams,
            ..Hello::default()
        };
        Self::say(connection, id, hello).await
    }

    /// The same of an agent that holds a watch list.
    pub async fn greet_watching(
        connection: Connection,
        id: AgentId,
        held: &Held,
    ) -> Result<Self, String> {
        let hello = Hello {
            watch: Some(held.state()),
            ..Hello::default()
        };
        Self::say(connection, id, hello).await
    }

    async fn say(connection: Connection, id: AgentId, hello: Hello) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (mut control, replies) = connection.open_bi().await.map_err(|e| text(&e))?;
        let hello = Hello {
            epoch: 1,
            hostname: "test".to_owned(),
            ..hello
        };
        let hello = hello.encode_length_delimited_to_vec();
        control.write_all(&hello).await.map_err(|e| text(&e))?;
        let mut agent = Self {
            id,
            connection,
            control,
            replies,
            wished: VecDeque::new(),
            updates: VecDeque::new(),
        };
        match agent.next().await? {
            downlink::Message::Welcome(_) => Ok(agent),
            other => Err(format!("{other:?} instead of Welcome")),
        }
    }

    /// Sends octets on a stream of their own and ends it.
    pub async fn send(&self, octets: &[u8]) {
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream.finish().unwrap();
    }

    pub async fn send_batch(&self, batch: &Batch) {
        self.send(&uplink(batch)).await;
    }

    pub async fn send_live(&self, live: Live) {
        self.send(
            &Uplink {
                message: Some(uplink::Message::Live(live)),
            }
            .encode_to_vec(),
        )
        .await;
    }

    /// Sends a batch and waits until it is acknowledged.
    pub async fn deliver(&mut self, batch: &Batch) {
        self.send_batch(batch).await;
        assert_eq!(
            self.reply().await,
            Reply::Acknowledged(vec![batch.sequence])
        );
    }

    /// The next reply to batches.
    pub async fn reply(&mut self) -> Reply {
        self.try_reply().await.unwrap()
    }

    pub async fn try_reply(&mut self) -> Result<Reply, String> {
        Ok(match self.next().await? {
            downlink::Message::Acknowledgement(message) => {
                assert_eq!(message.epoch, 1);
                Reply::Acknowledged(message.sequences)
            }
            downlink::Message::Refusal(message) => {
                assert_eq!(message.epoch, 1);
                Reply::Refused(message.sequence, message.cause(), message.reason)
            }
            other => panic!("{other:?} is no reply"),
        })
    }

    /// What is wished of the agent, as soon as it is told.
    pub async fn wished(&mut self) -> NtpMonitoring {
        if let Some(wished) = self.wished.pop_front() {
            return wished;
        }
        loop {
            let told = timeout(SOON, self.read()).await.expect("it is told");
            match told.unwrap() {
                downlink::Message::NtpMonitoring(wished) => return wished,
                downlink::Message::WatchUpdate(update) => self.updates.push_back(update),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next piece of an update of the watch list, as soon as it is told.
    pub async fn update(&mut self) -> WatchUpdate {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return update;
            }
            let told = timeout(SOON, self.read()).await.expect("it is told");
            match told.unwrap() {
                downlink::Message::WatchUpdate(update) => return update,
                downlink::Message::NtpMonitoring(wished) => self.wished.push_back(wished),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether it is told what to watch, soon.
    pub async fn is_told_to_watch(&mut self) -> bool {
        let soon = Duration::from_millis(200);
        timeout(soon, self.update()).await.is_ok()
    }

    /// The next acknowledgement as it stands on the wire.
    pub async fn acknowledgement(&mut self) -> Acknowledgement {
        match self.next().await.unwrap() {
            downlink::Message::Acknowledgement(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The code and reason the server closed the connection with.
    pub async fn closed(&self) -> (u64, String) {
        closed(&self.connection).await
    }

    /// Whether more is wished than was asked for here.
    pub async fn is_told_more(&mut self) -> bool {
        let soon = Duration::from_millis(50);
        !self.wished.is_empty() || timeout(soon, self.read()).await.is_ok()
    }

    /// The next message but wishes, which come at any time and are kept.
    async fn next(&mut self) -> Result<downlink::Message, String> {
        loop {
            let message = timeout(SOON, self.read())
                .await
                .map_err(|_| "no reply in time".to_owned())??;
            match message {
                downlink::Message::NtpMonitoring(wished) => self.wished.push_back(wished),
                downlink::Message::WatchUpdate(update) => self.updates.push_back(update),
                message => return Ok(message),
            }
        }
    }

    /// Messages of tests are shorter than 16 KiB: their delimiter has one or two octets.
    async fn read(&mut self) -> Result<downlink::Message, String> {
        let mut octet = [0];
        let mut length = 0_usize;
        for shift in [0, 7] {
            self.replies
                .read_exact(&mut octet)
                .await
                .map_err(|error| error.to_string())?;
            length |= usize::from(octet[0] & 0x7f) << shift;
            if octet[0] & 0x80 == 0 {
                break;
            }
        }
        let mut message = vec![0; length];
        self.replies
            .read_exact(&mut message)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Downlink::decode(message.as_slice())
            .unwrap()
            .message
            .unwrap())
    }
}

/// The message that carries a batch.
pub fn uplink(batch: &Batch) -> Vec<u8> {
    Uplink {
        message: Some(uplink::Message::Batch(batch.clone())),
    }
    .encode_to_vec()
}

pub async fn closed(connection: &Connection) -> (u64, String) {
    match timeout(SOON, connection.closed())
        .await
        .expect("the server closes the connection")
    {
        ConnectionError::ApplicationClosed(close) => (
            close.error_code.into_inner(),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        other => panic!("{other}"),
    }
}
