//! The spool as the sensor and the uplink share it: records in, messages out, and a thread between
//! them that waits for the disk so that nobody else has to.
//!
//! A thread of its own rather than the runtime's pool of blocking ones: its work must happen in
//! order, and a disk that stands still must hold up nothing but this. Until it has taken them,
//! sealed batches wait in the intake, whose bytes are bounded.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use netmon_common::wire::{Acknowledgement, Refusal, StreamState};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    directory::OpenError,
    intake::{Intake, Limits},
    keeper::{Keeper, Options, Status},
    recovery::Recovered,
    window::MAX_IN_FLIGHT,
};
use crate::clock;

/// Requests that may wait for the thread; more make the uplink wait.
const MAX_REQUESTS: usize = 1024;

/// How long whoever begins to count waits for the disk.
const SAVE_PATIENCE: Duration = Duration::from_secs(1);

/// A handle; all clones are the same spool.
#[derive(Clone, Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the thread.
    work: Condvar,
    /// Told whenever the thread has done something.
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    intake: Intake,
    requests: VecDeque<Request>,
    status: Status,
    is_busy: bool,
    stop: bool,
    end: Option<End>,
}

#[derive(Debug)]
enum Request {
    Connect(mpsc::Sender<Outgoing>, usize),
    Look,
    Acknowledged(Acknowledgement),
    Refused(Refusal),
    Streams(oneshot::Sender<Vec<StreamState>>),
    Begin {
        ifindex: u32,
        attachment: u32,
        saved: std::sync::mpsc::Sender<()>,
    },
}

/// How the thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was asked to. Batches that are only in memory are lost.
    Stopped {
        /// How many these are.
        lost: u64,
    },
    /// By a defect.
    Crashed,
}

/// What the uplink gets.
#[derive(Debug)]
pub enum Outgoing {
    /// Encoded batches for one stream.
    Batches(Vec<Bytes>),
    /// The connection is of no more use, and why.
    GiveUp(&'static str),
}

/// The messages for one connection; dropping it ends the connection for the spool.
#[derive(Debug)]
pub struct Feed {
    receiver: Option<mpsc::Receiver<Outgoing>>,
    shared: Arc<Shared>,
}

impl Spool {
    /// Opens the spool, reads what an earlier run left, and starts the thread. The run's number is
    /// `epoch`, or a later one if an earlier run had that.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(
        options: &Options,
        limits: Limits,
        epoch: u64,
    ) -> Result<(Self, Recovered), OpenError> {
        let (keeper, recovered) = Keeper::open(options, epoch, clock::now())?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                intake: Intake::new(keeper.epoch(), limits),
                requests: VecDeque::new(),
                status: keeper.status(),
                is_busy: false,
                stop: false,
                end: None,
            }),
            work: Condvar::new(),
            changed: Notify::new(),
        });
        let theirs = Arc::clone(&shared);
        let spawned = thread::Builder::new()
            .name("spool".into())
            .spawn(move || keep(keeper, &theirs));
        spawned.map_err(|source| OpenError::Unusable {
            path: options.directory.clone().unwrap_or_default(),
            source,
        })?;
        Ok((Self { shared }, recovered))
    }

    /// The intake, for a moment. What it sealed goes to the thread when the guard is dropped.
    pub fn lock(&self) -> IntakeGuard<'_> {
        IntakeGuard {
            inner: self.shared.lock(),
            work: &self.shared.work,
        }
    }

    /// Figures as the thread last had them.
    pub fn status(&self) -> Status {
        self.shared.lock().status.clone()
    }

    /// The streams a server is greeted with.
    pub async fn streams(&self) -> Vec<StreamState> {
        let (answer, streams) = oneshot::channel();
        self.request(Request::Streams(answer)).await;
        streams.await.unwrap_or_default()
    }

    /// Messages for a new connection, on whose streams so many batches may travel together.
    pub async fn connect(&self, stream_batches: usize) -> Feed {
        let (sender, receiver) = mpsc::channel(MAX_IN_FLIGHT + 1);
        self.request(Request::Connect(sender, stream_batches)).await;
        Feed {
            receiver: Some(receiver),
            shared: Arc::clone(&self.shared),
        }
    }

    /// The server has stored batches.
    pub async fn acknowledged(&self, acknowledgement: Acknowledgement) {
        self.request(Request::Acknowledged(acknowledgement)).await;
    }

    /// The server will never store a batch.
    pub async fn refused(&self, refusal: Refusal) {
        self.request(Request::Refused(refusal)).await;
    }

    async fn request(&self, request: Request) {
        self.until(|inner| inner.requests.len() < MAX_REQUESTS || inner.end.is_some())
            .await;
        self.shared.lock().requests.push_back(request);
        self.shared.work.notify_one();
    }

    /// Takes note of counters that begin at zero and are about to outlive the agent. Returns when
    /// that is written down, or after a second: the disk may be in trouble.
    pub fn begin_attachment(&self, ifindex: u32, attachment: u32) {
        let (saved, is_saved) = std::sync::mpsc::channel();
        self.shared.lock().requests.push_back(Request::Begin {
            ifindex,
            attachment,
            saved,
        });
        self.shared.work.notify_one();
        if is_saved.recv_timeout(SAVE_PATIENCE).is_err() {
            tracing::warn!("the spool does not answer; counting begins without it");
        }
    }

    /// Waits until the server has everything that was sealed.
    pub async fn delivered(&self) {
        self.until(|inner| {
            let idle = inner.intake.is_empty() && inner.requests.is_empty() && !inner.is_busy;
            inner.end.is_some() || (idle && inner.status.waiting.0 == 0)
        })
        .await;
    }

    /// Ends the thread: everything that can be is on the disk then.
    pub async fn stop(&self) -> End {
        self.shared.lock().stop = true;
        self.shared.work.notify_one();
        self.ended().await
    }

    /// Waits until the thread has ended.
    pub async fn ended(&self) -> End {
        self.until(|inner| inner.end.is_some()).await;
        self.shared.lock().end.unwrap_or(End::Crashed)
    }

    async fn until(&self, condition: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed in between.
            changed.as_mut().enable();
            if condition(&self.shared.lock()) {
                return;
            }
            changed.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The intake, locked.
#[derive(Debug)]
pub struct IntakeGuard<'a> {
    inner: MutexGuard<'a, Inner>,
    work: &'a Condvar,
}

impl Deref for IntakeGuard<'_> {
    type Target = Intake;

    fn deref(&self) -> &Intake {
        &self.inner.intake
    }
}

impl DerefMut for IntakeGuard<'_> {
    fn deref_mut(&mut self) -> &mut Intake {
        &mut self.inner.intake
    }
}

impl Drop for IntakeGuard<'_> {
    fn drop(&mut self) {
        if self.inner.intake.has_sealed() {
            self.work.notify_one();
        }
    }
}

impl Feed {
    /// The next message, as soon as there is one and the window has room for it. Waits for ever
    /// when the spool has ended.
    pub async fn next(&mut self) -> Outgoing {
        if let Some(receiver) = &mut self.receiver
            && let Some(outgoing) = receiver.recv().await
        {
            return outgoing;
        }
        std::future::pending().await
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.receiver = None;
        self.shared.lock().requests.push_back(Request::Look);
        self.shared.work.notify_one();
    }
}

/// Says that the thread has ended, however it ends.
struct Ending<'a> {
    shared: &'a Shared,
    end: End,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.shared.lock().end = Some(self.end);
        self.shared.changed.notify_waiters();
    }
}

fn keep(mut keeper: Keeper, shared: &Shared) {
    let mut ending = Ending {
        shared,
        end: End::Crashed,
    };
    let mut feed: Option<mpsc::Sender<Outgoing>> = None;
    loop {
        let mut inner = shared.lock();
        let idle = |inner: &mut Inner| {
            !inner.intake.has_sealed() && inner.requests.is_empty() && !inner.stop
        };
        let deadline = keeper.next_deadline(clock::now());
        if deadline > Duration::ZERO {
            let waited = shared.work.wait_timeout_while(inner, deadline, idle);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (sealed, unspooled) = inner.intake.take();
        let requests = std::mem::take(&mut inner.requests);
        let stop = inner.stop;
        inner.is_busy = true;
        drop(inner);
        let now = clock::now();
        keeper.take(now, sealed, &unspooled);
        let mut begun = Vec::new();
        for request in requests {
            match request {
                Request::Connect(sender, stream_batches) => {
                    keeper.connect(now, stream_batches);
                    feed = Some(sender);
                }
                Request::Look => {}
                Request::Acknowledged(acknowledgement) => {
                    keeper.acknowledged(now, &acknowledgement);
                }
                Request::Refused(refusal) => keeper.refused(now, &refusal),
                Request::Begin {
                    ifindex,
                    attachment,
                    saved,
                } => {
                    keeper.begin_attachment(ifindex, attachment, now);
                    begun.push(saved);
                }
                // Nobody waits for it any more: no harm.
                Request::Streams(answer) => drop(answer.send(keeper.hello_streams())),
            }
        }
        keeper.end_turn(now);
        for saved in begun {
            // Nobody waits for it any more: no harm.
            let _ = saved.send(());
        }
        if feed.as_ref().is_some_and(mpsc::Sender::is_closed) {
            feed = None;
            keeper.disconnect();
        }
        if let Some(sender) = &feed {
            send(&mut keeper, sender, now);
        }
        if stop {
            ending.end = End::Stopped {
                lost: keeper.stop(now),
            };
        }
        let mut inner = shared.lock();
        inner.status = keeper.status();
        inner.intake.set_report_due(keeper.reports_are_due());
        inner.is_busy = false;
        drop(inner);
        shared.changed.notify_waiters();
        if stop {
            return;
        }
    }
}

fn send(keeper: &mut Keeper, sender: &mpsc::Sender<Outgoing>, now: clock::Now) {
    if let Some(reason) = keeper.fault(now) {
        // Full of messages or closed: the reason holds next time, too.
        let _ = sender.try_send(Outgoing::GiveUp(reason));
        return;
    }
    // The channel has room for a whole window.
    while sender.capacity() > 1
        && let Some(messages) = keeper.next_stream(now)
    {
        if sender.try_send(Outgoing::Batches(messages)).is_err() {
            return;
        }
    }
}
