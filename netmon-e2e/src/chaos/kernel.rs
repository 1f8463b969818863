//! What the kernel counted, and when: the measure for everything else.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use netmon_lab::{InterfaceStatistics, Namespace};

/// Packets and octets, ingress then egress.
pub type Counts = [u64; 4];

/// Reads the kernel's counters of one interface every few milliseconds, for as long as it lives.
#[derive(Debug)]
pub struct Kernel {
    place: Namespace,
    interface: &'static str,
    history: Arc<Mutex<Vec<(Instant, Counts)>>>,
    done: Arc<AtomicBool>,
    reader: Option<JoinHandle<Result<()>>>,
}

impl Kernel {
    /// Starts reading.
    pub fn watch(place: &Namespace, interface: &'static str) -> Self {
        let history = Arc::new(Mutex::new(Vec::new()));
        let done = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (history, done, place) = (Arc::clone(&history), Arc::clone(&done), place.clone());
            move || {
                place.run_inside(|| {
                    while !done.load(Ordering::Relaxed) {
                        let read = read(interface)?;
                        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                        history.push((Instant::now(), read));
                        drop(history);
                        thread::sleep(Duration::from_millis(10));
                    }
                    Ok(())
                })
            }
        });
        Self {
            place: place.clone(),
            interface,
            history,
            done,
            reader: Some(reader),
        }
    }

    /// The counters now.
    pub fn now(&self) -> Result<Counts> {
        let s = InterfaceStatistics::read(&self.place, self.interface)?;
        Ok([s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes])
    }

    /// The last reading before a moment.
    pub fn before(&self, at: Instant) -> Counts {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let index = history.partition_point(|(when, _)| *when <= at);
        index.checked_sub(1).map_or([0; 4], |last| history[last].1)
    }

    /// The first reading after a moment.
    pub fn after(&self, at: Instant) -> Counts {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let index = history.partition_point(|(when, _)| *when < at);
        history
            .get(index)
            .or(history.last())
            .map_or([0; 4], |(_, counts)| *counts)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Already inside: a thread and a mount per reading would be most of the work.
fn read(interface: &str) -> Result<Counts> {
    let read = |name: &str| -> Result<u64> {
        let path = format!("/sys/class/net/{interface}/statistics/{name}");
        Ok(std::fs::read_to_string(path)?.trim().parse()?)
    };
    Ok([
        read("rx_packets")?,
        read("rx_bytes")?,
        read("tx_packets")?,
        read("tx_bytes")?,
    ])
}
