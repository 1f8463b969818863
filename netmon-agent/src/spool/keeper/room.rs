//! What is given up: the least valuable when there is too much, and what is too old.

use std::time::Duration;

use netmon_common::wire::OmissionCause;

use super::{Disk, Keeper};
use crate::{
    clock::Now,
    spool::{
        rank,
        segment::{Backing, SegmentKey},
    },
};

/// How often ages are looked at. A batch goes when it was too old twice in a row, so that a wall
/// clock that is wrong for a moment costs nothing.
const AGE_INTERVAL: Duration = Duration::from_secs(600);

impl Keeper {
    /// Gives up whole segments while there is too much.
    pub(super) fn make_room(&mut self, now: Now) {
        while self.book.is_over(Backing::File) {
            let Some(key) = self.book.victim(Some(Backing::File)) else {
                break;
            };
            self.give_up(key, OmissionCause::SpoolFull);
        }
        while self.book.is_over(Backing::Memory) {
            // Room on a full disk is as good as room in memory.
            let disk_is_full = self.disk.as_ref().is_some_and(Disk::is_full);
            let among = (!disk_is_full).then_some(Backing::Memory);
            let Some(key) = self.book.victim(among) else {
                break;
            };
            let was_file = self.book.segments()[&key].backing == Backing::File;
            self.give_up(key, OmissionCause::SpoolFull);
            if was_file {
                self.save_and_delete(now);
                if let Some(disk) = &mut self.disk {
                    disk.retry_now();
                }
                self.retry_disk(now);
            }
        }
    }

    fn give_up(&mut self, key: SegmentKey, cause: OmissionCause) {
        self.stop_writing(key);
        let Some(segment) = self.book.give_up(key, cause) else {
            return;
        };
        if segment.unsettled() > 0 {
            tracing::warn!(
                kind = key.kind.name(),
                batches = segment.unsettled(),
                cause = cause.as_str_name(),
                "the spool gives up its oldest segment of a kind"
            );
        }
        match (segment.backing, &mut self.disk) {
            (Backing::File, Some(disk)) => disk.doom(key),
            _ => self.let_go(key, segment.last),
        }
        self.must_save = true;
    }

    /// No more batches go into a segment.
    pub(super) fn stop_writing(&mut self, key: SegmentKey) {
        self.buffers.remove(&key);
        let memory = &mut self.memory_segments[rank(key.kind)];
        if *memory == Some(key) {
            *memory = None;
        }
        if let Some(disk) = &mut self.disk {
            disk.close(key);
        }
    }

    /// Gives up what is too old, every now and then.
    pub(super) fn give_up_the_old(&mut self, now: Now) {
        let since = Duration::from_nanos(now.monotonic_ns.saturating_sub(self.aged_ns));
        if since < AGE_INTERVAL {
            return;
        }
        self.aged_ns = now.monotonic_ns;
        let before = std::mem::replace(&mut self.aged, self.book.too_old(now.unix_ns));
        let too_old: Vec<_> = before
            .into_iter()
            .filter(|key| self.aged.contains(key))
            .collect();
        for key in too_old {
            self.give_up(key, OmissionCause::TooOld);
        }
    }
}
