//! Space on file systems, asked on threads of their own: a file system whose disk or server hangs
//! answers statvfs(2) never.

use std::{
    collections::HashMap,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;

use super::{Space, host::Answer, parse::Mount};

/// How long one file system may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Threads that may hang at a time; beyond, no file system is asked until one comes back.
const MAX_STUCK: usize = 4;

/// The file systems that do not answer, and the threads that wait for them.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    stuck: HashMap<String, JoinHandle<()>>,
}

impl Spaces {
    /// The space of each mount, in order.
    pub(super) fn of(&mut self, mounts: Vec<Mount>) -> Vec<Answer> {
        self.ask(mounts, PATIENCE, space)
    }

    fn ask(
        &mut self,
        mounts: Vec<Mount>,
        patience: Duration,
        ask: impl Fn(&Mount) -> Option<Space> + Copy + Send + 'static,
    ) -> Vec<Answer> {
        self.stuck.retain(|_, thread| !thread.is_finished());
        let mut answers = Vec::with_capacity(mounts.len());
        let mut waiting = mounts;
        while !waiting.is_empty() {
            if self.stuck.len() >= MAX_STUCK {
                answers.extend(waiting.drain(..).map(|mount| (mount, None)));
                break;
            }
            let (answered, silent) = self.ask_until_silence(&waiting, patience, ask);
            let done = answered.len();
            let mut rest = waiting.split_off(done);
            answers.extend(waiting.into_iter().zip(answered));
            if silent && !rest.is_empty() {
                answers.push((rest.remove(0), None));
            }
            waiting = rest;
        }
        answers
    }

    /// Asks one file system after the other on a new thread, until one does not answer: the thread
    /// is left behind with it.
    fn ask_until_silence(
        &mut self,
        mounts: &[Mount],
        patience: Duration,
        ask: impl Fn(&Mount) -> Option<Space> + Copy + Send + 'static,
    ) -> (Vec<Option<Space>>, bool) {
        let (send, receive) = mpsc::channel();
        let known_stuck: Vec<_> = mounts
            .iter()
            .map(|mount| self.stuck.contains_key(&mount.mount_point))
            .collect();
        let questions: Vec<_> = mounts.iter().cloned().zip(known_stuck).collect();
        let thread = thread::Builder::new()
            .name("statvfs".to_owned())
            .spawn(move || {
                for (mount, known_stuck) in questions {
                    let answer = if known_stuck { None } else { ask(&mount) };
                    if send.send(answer).is_err() {
                        return;
                    }
                }
            });
        let Ok(thread) = thread else {
            return (vec![None; mounts.len()], false);
        };
        let mut answered = Vec::with_capacity(mounts.len());
        while answered.len() < mounts.len() {
            let started = Instant::now();
            match receive.recv_timeout(patience) {
                Ok(answer) => answered.push(answer),
                Err(_) => {
                    let mount_point = mounts[answered.len()].mount_point.clone();
                    tracing::warn!(mount_point, waited = ?started.elapsed(), "a file system does not answer");
                    self.stuck.insert(mount_point, thread);
                    return (answered, true);
                }
            }
        }
        (answered, false)
    }
}

/// Asks the kernel; a file system without any blocks (an empty autofs) has no space to speak of.
fn space(mount: &Mount) -> Option<Space> {
    let answer = statvfs(mount.mount_point.as_str()).ok()?;
    let octets = |blocks: libc::fsblkcnt_t| blocks.saturating_mul(answer.fragment_size());
    (answer.blocks() > 0).then(|| Space {
        mount_point: mount.mount_point.clone(),
        device: mount.device.clone(),
        kind: mount.kind.clone(),
        total: octets(answer.blocks()),
        free: octets(answer.blocks_free()),
        available: octets(answer.blocks_available()),
        inodes: answer.files(),
        inodes_free: answer.files_free(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(points: &[&str]) -> Vec<Mount> {
        let mount = |point: &&str| Mount {
            mount_point: (*point).to_owned(),
            device: "/dev/x".to_owned(),
            kind: "ext4".to_owned(),
        };
        points.iter().map(mount).collect()
    }

    #[test]
    fn the_root_has_space() {
        let answers = Spaces::default().of(mounts(&["/", "/no/such/place"]));
        let root = answers[0].1.as_ref().unwrap();
        assert!(root.total >= root.free && root.free >= root.available && root.available > 0);
        assert_eq!(answers[1].1, None);
    }

    /// Answers at once, but for mount points that begin with `/hung`.
    fn half_dead(mount: &Mount) -> Option<Space> {
        if mount.mount_point.starts_with("/hung") {
            thread::sleep(Duration::from_secs(3600));
        }
        space(&Mount {
            mount_point: "/".to_owned(),
            ..mount.clone()
        })
    }

    #[test]
    fn a_file_system_that_hangs_keeps_no_other_from_answering() {
        let mut spaces = Spaces::default();
        let patience = Duration::from_millis(200);
        let mut round = || {
            let started = Instant::now();
            let mounts = mounts(&["/a", "/hung", "/b"]);
            let answers = spaces.ask(mounts, patience, half_dead).into_iter();
            let known: Vec<_> = answers
                .map(|(mount, space)| (mount.mount_point, space.is_some()))
                .collect();
            (known, started.elapsed())
        };
        let expected = [
            ("/a".to_owned(), true),
            ("/hung".to_owned(), false),
            ("/b".to_owned(), true),
        ];
        let (known, took) = round();
        assert_eq!(known, expected);
        assert!(took < Duration::from_secs(5));
        let (known, took) = round();
        assert_eq!(known, expected);
        assert!(
            took < patience,
            "one that hangs is not asked again, {took:?}"
        );
    }

    #[test]
    fn only_so_many_threads_may_hang() {
        let mut spaces = Spaces::default();
        let points = ["/hung1", "/hung2", "/hung3", "/hung4", "/hung5", "/fine"];
        let answers = spaces.ask(mounts(&points), Duration::from_millis(20), half_dead);
        assert_eq!(answers.len(), points.len());
        assert!(answers.iter().all(|(_, space)| space.is_none()));
        assert_eq!(spaces.stuck.len(), MAX_STUCK);
    }
}
