//! Writers: each takes batches of several agents and stores them in one transaction.
//!
//! There is a lane for each kind of batch, so that a burst of one kind delays no other. A lane has a
//! few workers, and an agent always goes to the same one: no two of them ever hold the same agent,
//! so what they lock is disjoint. A batch waits in its worker's queue; a worker that is free takes a
//! group as soon as it is complete ([`Flush`]). While the database is slow or away the queues fill;
//! then streams are no longer read, and QUIC's flow control makes the agents wait.

mod bisection;
mod fair;
mod ticket;
mod worker;

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use netmon_common::wire::Kind;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use fair::Flush;
use fair::{Fair, Size};

use ticket::Ticket;

use super::{Shared, envelope::Part, limits::Limits, log_panic, receive::Held, session::Session};
use crate::{
    metrics::{BatchRefusal, Lane},
    store::Committed,
};

/// Most workers of one lane.
const MAX_WORKERS: usize = 16;

/// What is decided of a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    Committed(Committed),
    /// It can never be stored.
    Refuse(BatchRefusal, String),
}

/// What a stream brought, with what it holds in memory.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    _held: Held,
}

impl Message {
    pub(super) fn new(bytes: Vec<u8>, held: Held) -> Self {
        Self { bytes, _held: held }
    }
}

/// What is decided of batches that came together.
#[derive(Debug)]
pub(super) struct Answer {
    /// The places of batches among the parts, each with its verdict.
    pub(super) verdicts: Vec<(usize, Verdict)>,
    /// Where the verdicts on the others will come.
    pub(super) rest: Option<oneshot::Receiver<Answer>>,
}

/// The queues of all workers, by lane.
#[derive(Debug)]
pub(super) struct Writers {
    lanes: Vec<Vec<Arc<Queue>>>,
}

/// What one worker is to do.
#[derive(Debug)]
struct Queue {
    lane: Lane,
    waiting: Mutex<Fair<Ticket>>,
    arrived: Notify,
    places: Arc<Semaphore>,
}

impl Writers {
    /// Queues for as many workers as the database is asked to serve at once.
    pub(super) fn new(limits: &Limits, commits: usize) -> Self {
        // Two lanes are busy as a rule, seldom more; one more worker than there are processors for
        // it decodes, or waits for the disk, while the others keep the database busy.
        let workers = (commits / 2).clamp(1, MAX_WORKERS);
        let queue = |lane| {
            Arc::new(Queue {
                lane,
                waiting: Mutex::default(),
                arrived: Notify::new(),
                places: Arc::new(Semaphore::new(limits.queue)),
            })
        };
        let lanes = [Lane::Bandwidth, Lane::System, Lane::Exchanges, Lane::Other];
        let lanes = lanes.map(|lane| (0..workers).map(|_| queue(lane)).collect());
        Self {
            lanes: lanes.into(),
        }
    }

    /// Starts the workers; they end when told to, without finishing what waits.
    pub(super) fn start(&self, shared: &Arc<Shared>, stop: &CancellationToken) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        for queue in self.lanes.iter().flatten() {
            let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
            let stop = stop.clone();
            workers.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = supervise(shared, queue) => {}
                }
            });
        }
        workers
    }

    /// Hands batches of one kind, a range of a message's parts, to their writer and waits for what
    /// becomes of them; `None` when nobody waits any more.
    pub(super) async fn store(
        &self,
        session: &Arc<Session>,
        parts: Arc<[Part]>,
        range: Range<usize>,
        message: Arc<Message>,
    ) -> Option<Answer> {
        let batches = &parts[range.clone()];
        let queue = self.queue(session, batches.first()?.key.kind());
        let place = tokio::select! {
            () = session.gone.cancelled() => return None,
            // Nobody closes it.
            place = Arc::clone(&queue.places).acquire_owned() => place.ok()?,
        };
        let rows: usize = batches.iter().map(|part| part.rows.unwrap_or(0)).sum();
        let size = Size {
            rows: rows.max(1),
            bytes: batches.iter().map(|part| part.place.len()).sum(),
        };
        let (ticket, answer) = Ticket::new(session, (parts, range), message, size, place);
        let metrics = &session.shared.ingest.metrics.writers;
        metrics.arrived(queue.lane, size.bytes);
        let shard = session.shard();
        queue
            .lock()
            .push(session.agent, shard, size, ticket, Instant::now());
        queue.arrived.notify_one();
        session.verdicts(answer).await
    }

    fn queue(&self, session: &Session, kind: Kind) -> &Arc<Queue> {
        let lane = match kind {
            Kind::Bandwidth => 0,
            Kind::System => 1,
            Kind::Exchanges => 2,
            Kind::Unspecified | Kind::Flows | Kind::Sightings => 3,
        };
        let workers = &self.lanes[lane];
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(session.agent);
        &workers[(hash % workers.len() as u64) as usize]
    }
}

/// Runs a worker, and another one should it panic: the batches it held are sent again by agents
/// that connect anew, those in the queue by nobody.
async fn supervise(shared: Arc<Shared>, queue: Arc<Queue>) {
    loop {
        // Aborted with this task.
        let mut worker = JoinSet::new();
        let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
        worker.spawn(async move { worker::run(&shared, &queue).await });
        if let Some(ended) = worker.join_next().await {
            log_panic(ended);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Fair<Ticket>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
