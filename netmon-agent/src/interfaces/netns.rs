//! Network namespaces by name, as ip-netns(8) keeps them, and work inside of one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    panic,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, statfs},
};

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// The namespace of the thread that asks.
const OWN: &str = "/proc/thread-self/ns/net";

/// A namespace's number while it lives: device and inode of its file. It may become another's
/// afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId(u64, u64);

/// A network namespace that can be worked in. It lives at least as long as this value, with its
/// interfaces: let go of it as soon as its name is gone.
#[derive(Debug)]
pub struct Netns {
    /// `None`: the one the agent runs in.
    file: Option<File>,
}

impl NetnsId {
    /// Of the namespace the agent runs in.
    ///
    /// # Errors
    /// Without `/proc`.
    pub fn own() -> io::Result<Self> {
        fs::metadata(OWN).map(|metadata| Self::of(&metadata))
    }

    /// Of the namespace that has this name now.
    pub fn named(name: &str) -> Option<Self> {
        let path = path(name);
        // `ip netns` makes an empty file first, and mounts the namespace there then.
        let kind = statfs(&path).ok()?.filesystem_type();
        let metadata = fs::metadata(&path).ok()?;
        (kind == NSFS_MAGIC).then(|| Self::of(&metadata))
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

impl Netns {
    /// The one the agent runs in.
    pub const fn own() -> Self {
        Self { file: None }
    }

    /// The one of this name, and its number.
    ///
    /// # Errors
    /// When there is none, or it may not be opened.
    pub fn open(name: &str) -> io::Result<(Self, NetnsId)> {
        let file = File::open(path(name))?;
        let id = NetnsId::of(&file.metadata()?);
        Ok((Self { file: Some(file) }, id))
    }

    /// Does something inside: on a thread of its own, because a thread that has moved takes
    /// everything that runs on it along. Sockets that are opened there stay there.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` (setns(2)); when no thread can be started.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Some(file) = &self.file else {
            return Ok(work());
        };
        let moved = || -> io::Result<T> {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("netns".to_owned());
            thread
                .spawn_scoped(scope, moved)?
                .join()
                .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}

/// The names there are, in their order.
pub fn netns_names() -> Vec<String> {
    let entries = fs::read_dir(NAMES).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| NetnsId::named(name).is_some())
        .collect();
    names.sort();
    names
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_has_given_is_no_namespace() {
        assert_eq!(NetnsId::named("nosuchnamespace"), None);
        let error = Netns::open("nosuchnamespace").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn work_in_the_own_namespace_needs_no_thread() {
        let here = thread::current().id();
        let there = Netns::own().inside(|| thread::current().id());
        assert_eq!(there.unwrap(), here);
        assert_eq!(NetnsId::own().unwrap(), NetnsId::own().unwrap());
    }
}
