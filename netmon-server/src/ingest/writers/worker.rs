//! One writer: takes a group, stores it, and answers.

use std::{collections::HashSet, ops::Range, sync::Arc, time::Instant};

use tokio::task::JoinSet;

use super::{
    Queue, Verdict,
    bisection::Bisection,
    fair::{Cause, Ready},
    ticket::Ticket,
};
use crate::{
    ingest::{Shared, log_panic, persist::Pauses},
    metrics::{BatchRefusal, DatabaseOperation, FlushCause},
    store::{Committed, Decoder, GroupCommitted, ObservedFold, Rejected, Rows, StoreError},
};

/// Stores what comes into the queue, for ever.
pub(super) async fn run(shared: &Arc<Shared>, queue: &Queue) {
    // Batches that fail by themselves, while others are stored; each holds its message, and so is
    // bounded as those are.
    let mut laggards = JoinSet::new();
    let (mut decoder, mut rows) = (Decoder::default(), Rows::default());
    loop {
        let (tickets, cause) = next(shared, queue).await;
        shared.ingest.metrics.writers.flushed(cause);
        let group = Group::decode(shared, tickets, &mut decoder, rows);
        let (late, used) = group.store().await;
        rows = used;
        for ticket in late {
            laggards.spawn(alone(Arc::clone(shared), ticket));
        }
        while let Some(ended) = laggards.try_join_next() {
            log_panic(ended);
        }
    }
}

/// Tries batches of one ticket until each has a verdict or nobody waits any more.
async fn alone(shared: Arc<Shared>, mut ticket: Ticket) {
    let mut pauses = Pauses::new(&shared.ingest.limits);
    loop {
        tokio::time::sleep(pauses.next()).await;
        let (mut decoder, rows) = (Decoder::default(), Rows::default());
        let group = Group::decode(&shared, vec![ticket], &mut decoder, rows);
        match group.store().await.0.pop() {
            Some(again) => ticket = again,
            None => return,
        }
    }
}

/// Waits until there is a group to take.
async fn next(shared: &Shared, queue: &Queue) -> (Vec<Ticket>, FlushCause) {
    let flush = &shared.ingest.limits.flush;
    loop {
        // Before looking: who comes after that wakes this writer up.
        let arrived = queue.arrived.notified();
        let ready = queue.lock().ready(flush, Instant::now());
        match ready {
            Ready::Now(cause) => {
                let tickets = queue.lock().take(flush);
                let metrics = &shared.ingest.metrics.writers;
                for ticket in &tickets {
                    metrics.taken(queue.lane, ticket.size.bytes);
                }
                let cause = match cause {
                    Cause::Rows => FlushCause::Rows,
                    Cause::Bytes => FlushCause::Bytes,
                    Cause::Time => FlushCause::Time,
                };
                return (tickets, cause);
            }
            Ready::At(due) => {
                tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                }
            }
            Ready::Empty => arrived.await,
        }
    }
}

/// Batches that are stored together.
struct Group<'a> {
    shared: &'a Shared,
    rows: Rows,
    /// For each batch in `rows` its ticket, and its number there.
    batches: Vec<(usize, usize)>,
    /// None once it is answered.
    tickets: Vec<Option<Ticket>>,
}

impl<'a> Group<'a> {
    /// Turns the batches into rows, in memory used before. Those that can never be stored have
    /// their verdicts then.
    fn decode(
        shared: &'a Shared,
        tickets: Vec<Ticket>,
        decoder: &mut Decoder,
        mut rows: Rows,
    ) -> Self {
        let window = shared.ingest.store.window();
        rows.clear();
        let (mut batches, mut waiting) = (Vec::new(), Vec::with_capacity(tickets.len()));
        for mut ticket in tickets {
            if ticket.is_gone() {
                continue;
            }
            let agent = ticket.session.agent;
            for batch in ticket.open() {
                let pushed = rows.push_message(agent, ticket.batch(batch), window, decoder);
                let (cause, reason) = match pushed {
                    Ok(()) => {
                        let last = rows.batches() - 1;
                        let (_, exchanges) = rows.observed_of(last);
                        let folds = rows.observed_folds_of(last).iter();
                        let folded: u64 = folds.map(ObservedFold::exchanges).sum();
                        let ntp = &shared.ingest.metrics.ntp;
                        ntp.received(exchanges.len() as u64 + folded);
                        batches.push((waiting.len(), batch));
                        continue;
                    }
                    Err(Rejected::Malformed(reason)) => (BatchRefusal::Malformed, reason),
                    Err(Rejected::Invalid(invalid)) => {
                        (BatchRefusal::InvalidRow, invalid.to_string())
                    }
                };
                ticket.decide(batch, Verdict::Refuse(cause, reason));
            }
            if ticket.is_decided() {
                ticket.answer();
            } else {
                waiting.push(Some(ticket));
            }
        }
        Self {
            shared,
            rows,
            batches,
            tickets: waiting,
        }
    }

    /// Stores the batches, however long the database takes, and answers each. Gives back those that
    /// fail for a reason that is theirs alone but may pass, and the memory.
    async fn store(mut self) -> (Vec<Ticket>, Rows) {
        let metrics = &self.shared.ingest.metrics;
        let mut parts = Bisection::of(self.batches.len());
        let mut pauses = Pauses::new(&self.shared.ingest.limits);
        while let Some(part) = parts.next() {
            if self.waiting(part.clone()).next().is_none() {
                parts.done();
                continue;
            }
            let error = match self.attempt(part.clone()).await {
                Ok(committed) => {
                    self.count(part.clone(), &committed);
                    self.decide(part.zip(committed.verdicts.into_iter().map(Verdict::Committed)));
                    parts.done();
                    pauses = Pauses::new(&self.shared.ingest.limits);
                    continue;
                }
                Err(error) => error,
            };
            if matches!(error, StoreError::Mismatch { .. }) {
                metrics.writers.mismatch();
                tracing::error!(%error, batches = part.len(), "nothing of it was committed");
            }
            match error {
                error if error.may_be_of_one_batch() && parts.halve() => {
                    metrics.writers.bisected();
                }
                StoreError::Permanent(reason) => {
                    let refuse = |batch| {
                        let verdict = Verdict::Refuse(BatchRefusal::InvalidRow, reason.clone());
                        (batch, verdict)
                    };
                    self.decide(part.map(refuse));
                    parts.done();
                }
                error if error.may_be_of_one_batch() => {
                    self.failed(part, &error);
                    parts.done();
                }
                error => {
                    self.failed(part, &error);
                    tokio::time::sleep(pauses.next()).await;
                }
            }
        }
        let tickets = self.tickets.into_iter().flatten();
        let laggards = tickets.filter_map(Ticket::answer).collect();
        (laggards, self.rows)
    }

    async fn attempt(&self, part: Range<usize>) -> Result<GroupCommitted, StoreError> {
        // Nobody closes it.
        let _turn = self.shared.commits.acquire().await;
        let mut registered = HashSet::new();
        for ticket in self.waiting(part.clone()) {
            if registered.insert(ticket.session.number) {
                ticket.session.register().await?;
            }
        }
        let started = Instant::now();
        let committed = self
            .shared
            .ingest
            .store
            .commit_group(&self.rows, part)
            .await?;
        self.shared.ingest.metrics.commit_took(started.elapsed());
        Ok(committed)
    }

    /// Counts an attempt that is to be made again.
    fn failed(&self, part: Range<usize>, error: &StoreError) {
        self.shared
            .ingest
            .metrics
            .database_error(DatabaseOperation::Commit);
        if let Some(suppressed) = self.shared.database_log.allow() {
            let batches = part.len();
            tracing::warn!(batches, %error, suppressed, "cannot store batches; trying again");
        }
        for ticket in self.waiting(part) {
            // The database may have come back from a backup that is older than the agent's row.
            ticket.session.register_again();
        }
    }

    fn count(&self, part: Range<usize>, committed: &GroupCommitted) {
        let metrics = &self.shared.ingest.metrics;
        for (batch, verdict) in part.zip(&committed.verdicts) {
            if let Committed::Stored(_) = verdict {
                let (agent, exchanges) = self.rows.observed_of(batch);
                metrics.ntp.stored(agent, exchanges);
                let folds = self.rows.observed_folds_of(batch);
                metrics.ntp.stored_folds(agent, folds);
            }
        }
        let stored = metrics.group_committed(committed);
        let rows = committed.rows.by_table().map(|(_, rows)| rows).iter().sum();
        metrics.writers.grouped(stored, rows);
        if let Some(present) = committed.present {
            metrics.writers.staged(present);
        }
    }

    /// Notes verdicts, and answers those whose batches all have theirs.
    fn decide(&mut self, verdicts: impl Iterator<Item = (usize, Verdict)>) {
        for (batch, verdict) in verdicts {
            let (place, batch) = self.batches[batch];
            if let Some(ticket) = &mut self.tickets[place] {
                ticket.decide(batch, verdict);
                if ticket.is_decided() {
                    self.tickets[place].take().and_then(Ticket::answer);
                }
            }
        }
    }

    /// The tickets of those of the batches for whose verdict somebody waits.
    fn waiting(&self, part: Range<usize>) -> impl Iterator<Item = &Ticket> {
        self.batches[part].iter().filter_map(|(place, batch)| {
            let ticket = self.tickets[*place].as_ref()?;
            (ticket.is_open(*batch) && !ticket.is_gone()).then_some(ticket)
        })
    }
}
