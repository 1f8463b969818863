//! Clients that upload one log after the other, each again until it is acknowledged.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use netmon_lab::patient;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    answer::Answer,
    http::{self, Pace},
    ledger::Ledger,
    log::{Author, Log},
};

/// How long a log may take to be acknowledged, whatever is killed meanwhile.
const PATIENCE: Duration = Duration::from_secs(90);

/// Acknowledged logs that a client still has, to send one again now and then.
const KEPT: usize = 4;

/// All of them. Dropped, they give up what is not acknowledged.
pub struct Clients {
    threads: Vec<JoinHandle<Result<()>>>,
    end: Arc<End>,
}

/// When to end.
#[derive(Debug, Default)]
struct End {
    /// With the log that is under way acknowledged.
    soon: AtomicBool,
    /// Not yet, but no other log is begun either.
    held: AtomicBool,
    now: AtomicBool,
}

impl Clients {
    /// Starts so many.
    pub fn start(count: u8, seed: u64, server: SocketAddr, ledger: &Arc<Ledger>) -> Self {
        let end = Arc::<End>::default();
        let threads = (0..count).map(|number| {
            let random = StdRng::seed_from_u64(seed ^ ((u64::from(number) + 1) << 32));
            let client = Client {
                server,
                author: Author::new(number, random),
                ledger: Arc::clone(ledger),
                end: Arc::clone(&end),
            };
            thread::spawn(move || client.run())
        });
        Self {
            threads: threads.collect(),
            end,
        }
    }

    /// Fails with what a client says that has given up.
    pub fn still_sending(&mut self) -> Result<()> {
        match self.threads.iter().position(JoinHandle::is_finished) {
            Some(ended) => joined(self.threads.swap_remove(ended)),
            None => Ok(()),
        }
    }

    /// Whether they may begin other logs; those that are under way go on.
    pub fn hold(&self, held: bool) {
        self.end.held.store(held, Relaxed);
    }

    /// Lets each finish what it has begun.
    pub fn finish(mut self) -> Result<()> {
        self.end.soon.store(true, Relaxed);
        self.threads.drain(..).try_for_each(joined)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end.now.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // Why the run fails is said already.
            let _ = joined(thread);
        }
    }
}

fn joined(thread: JoinHandle<Result<()>>) -> Result<()> {
    let ended = thread.join();
    ended.map_err(|_| anyhow!("a client panicked"))?
}

struct Client {
    server: SocketAddr,
    author: Author,
    ledger: Arc<Ledger>,
    end: Arc<End>,
}

impl Client {
    fn run(mut self) -> Result<()> {
        let mut kept: Vec<(Arc<Log>, Answer)> = Vec::new();
        while !self.end.soon.load(Relaxed) {
            if self.end.held.load(Relaxed) {
                thread::sleep(Duration::from_millis(5));
                if self.end.now.load(Relaxed) {
                    return Ok(());
                }
                continue;
            }
            let log = Arc::new(self.author.log());
            self.ledger.begin(&log);
            let answer = self.send(&log)?;
            ensure!(
                answer.figures.lines == log.lines.len() as u64,
                "{} lines were sent, {answer}",
                log.lines.len()
            );
            self.ledger.acknowledge(&log, answer.clone());
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push((log, answer));
            let pause = self.author.random().random_range(0..200);
            thread::sleep(Duration::from_millis(pause));
            if self.author.random().random_bool(0.2) {
                let number = self.author.random().random_range(0..kept.len());
                self.send_again(&kept[number])?;
            }
        }
        Ok(())
    }

    /// What is acknowledged already is answered just the same, and nothing of it is stored.
    fn send_again(&mut self, (log, first): &(Arc<Log>, Answer)) -> Result<()> {
        let again = self.send(log)?;
        ensure!(
            again.agrees(first),
            "{} was answered by {first}, and the second time by {again}",
            log.key
        );
        ensure!(
            again.already_stored == again.figures.lines,
            "{} was stored already: {again}",
            log.key
        );
        self.ledger.sent_again();
        Ok(())
    }

    /// Sends a log until it is acknowledged.
    fn send(&mut self, log: &Log) -> Result<Answer> {
        let path = format!("/api/v1/botnets/{}/logs", log.family);
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            let pace = self.pace();
            let trouble = match http::post(self.server, &path, &log.key, &log.text, pace) {
                Ok((200, body)) => return Answer::read(&body),
                // The database is away.
                Ok((503, body)) => anyhow!("503: {body}"),
                Ok((status, body)) => bail!("{} is answered by {status}: {body}", log.key),
                Err(error) => error,
            };
            self.ledger.tried_in_vain();
            if Instant::now() >= deadline || self.end.now.load(Relaxed) {
                return Err(trouble).with_context(|| format!("{} is not acknowledged", log.key));
            }
            let pause = self.author.random().random_range(10..200);
            thread::sleep(Duration::from_millis(pause));
        }
    }

    /// Some send as fast as they can, others drop by drop, so that pieces are stored while the rest is
    /// on its way.
    fn pace(&mut self) -> Option<Pace> {
        let random = self.author.random();
        random.random_bool(0.5).then(|| Pace {
            piece: random.random_range(8..64) << 10,
            pause: Duration::from_millis(random.random_range(1..40)),
        })
    }
}
