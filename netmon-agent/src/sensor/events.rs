//! Draining `EVENTS`.

use std::io;

use netmon_common::event::NtpEvent;

use super::Sensor;

/// Most events taken before other work gets its turn.
const BURST: usize = 4096;

impl Sensor {
    /// Waits until a good part of the ring buffer is full. Fewer events wake nobody: look for them
    /// several times a second.
    pub async fn readable(&self) -> io::Result<()> {
        self.events
            .readable()
            .await
            .map(|mut guard| guard.clear_ready())
    }

    /// Takes up to a few thousand events; returns whether more may wait.
    pub fn drain(&mut self, mut each: impl FnMut(Option<NtpEvent>)) -> bool {
        let ring = self.events.get_mut();
        for _ in 0..BURST {
            // An item borrows the ring, and dropping it hands its memory back: copy, then go on.
            match ring.next() {
                Some(record) => each(NtpEvent::parse(&record)),
                None => return false,
            }
        }
        true
    }
}
