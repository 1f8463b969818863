//! The state file: what must be known before any segment is read, written in place so that a full
//! disk does not stop it.
//!
//! Two halves with a checksum and a generation number each; a write goes to the older half, so that
//! one that is cut short leaves the other. The file never changes its size.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::FileExt as _},
};

use netmon_common::wire;
use nix::fcntl::{FallocateFlags, fallocate};
use prost::Message;

/// Octets of one half: thousands of ranges and of attachments.
const HALF_BYTES: u64 = 512 << 10;

/// Octets of the file.
pub const FILE_BYTES: u64 = 2 * HALF_BYTES;

const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"NETMONST";

/// What the spool remembers across runs beside its segments.
#[derive(Clone, PartialEq, Message)]
pub struct State {
    /// The run that wrote it.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Whether that run came to an orderly end.
    #[prost(bool, tag = "2")]
    pub clean: bool,
    /// Streams that matter.
    #[prost(message, repeated, tag = "3")]
    pub streams: Vec<wire::StreamState>,
    /// What no server is known to have been told.
    #[prost(message, repeated, tag = "4")]
    pub omissions: Vec<wire::Omission>,
    /// Batches that are only in memory: lost with the process.
    #[prost(message, repeated, tag = "5")]
    pub in_memory: Vec<wire::Omission>,
    /// [`super::checkpoint::Checkpoint`], encoded.
    #[prost(bytes = "vec", tag = "6")]
    pub checkpoint: Vec<u8>,
}

/// The open file.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    generation: u64,
}

/// What a state file holds.
#[derive(Debug)]
pub enum Held {
    /// The newest state that is whole; `None`: there is none.
    State(Option<Box<State>>),
    /// Something of a later format.
    Newer(u32),
}

impl StateFile {
    /// Takes a file that may be new.
    ///
    /// # Errors
    /// When it cannot be read, or when there is no room for a new one.
    pub fn open(file: File) -> io::Result<(Self, Held)> {
        let mut newest = None;
        let mut generation = 0;
        for half in 0..2 {
            match read_half(&file, half)? {
                Half::Newer(version) => {
                    return Ok((Self { file, generation }, Held::Newer(version)));
                }
                Half::Whole(found, state) if newest.is_none() || found > generation => {
                    generation = found;
                    newest = Some(state);
                }
                Half::Whole(..) | Half::Nothing => {}
            }
        }
        if file.metadata()?.len() < FILE_BYTES {
            allocate(&file)?;
        }
        Ok((Self { file, generation }, Held::State(newest)))
    }

    /// Writes a state over the older half.
    ///
    /// # Errors
    /// When the disk does not take it: the other half is whole then.
    pub fn write(&mut self, state: &State, sync: bool) -> io::Result<()> {
        let body = state.encode_to_vec();
        if body.len() + HEADER_BYTES > HALF_BYTES as usize {
            return Err(io::Error::other("the spool's state outgrew its file"));
        }
        let generation = self.generation + 1;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&super::record::VERSION.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes, &body).to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(&body);
        // Taken now: a write that fails half-way must not be followed by one over the good half.
        let half = generation % 2;
        self.file.write_all_at(&bytes, half * HALF_BYTES)?;
        if sync {
            self.file.sync_data()?;
        }
        self.generation = generation;
        Ok(())
    }
}

enum Half {
    Nothing,
    Whole(u64, Box<State>),
    Newer(u32),
}

fn read_half(file: &File, half: u64) -> io::Result<Half> {
    let offset = half * HALF_BYTES;
    let mut header = [0; HEADER_BYTES];
    if !read_exact_or_end(file, &mut header, offset)? || header[..8] != MAGIC {
        return Ok(Half::Nothing);
    }
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four octets"));
    let generation = u64::from_le_bytes(header[16..24].try_into().expect("eight octets"));
    let length = word(12) as usize;
    if length + HEADER_BYTES > HALF_BYTES as usize {
        return Ok(Half::Nothing);
    }
    let mut body = vec![0; length];
    if !read_exact_or_end(file, &mut body, offset + HEADER_BYTES as u64)?
        || word(24) != checksum(&header[..24], &body)
    {
        return Ok(Half::Nothing);
    }
    if word(8) > super::record::VERSION {
        return Ok(Half::Newer(word(8)));
    }
    Ok(State::decode(&*body).map_or(Half::Nothing, |state| {
        Half::Whole(generation, Box::new(state))
    }))
}

fn read_exact_or_end(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

/// Takes the blocks now; a file system that cannot promise them gets zeros.
fn allocate(file: &File) -> io::Result<()> {
    match fallocate(file.as_fd(), FallocateFlags::empty(), 0, FILE_BYTES as i64) {
        Ok(()) => {}
        Err(nix::errno::Errno::EOPNOTSUPP) => {
            let length = file.metadata()?.len();
            let zeros = vec![0; (FILE_BYTES - length) as usize];
            file.write_all_at(&zeros, length)?;
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(epoch: u64) -> State {
        State {
            epoch,
            checkpoint: vec![7; 100],
            ..State::default()
        }
    }

    fn reopened(path: &std::path::Path) -> Option<State> {
        let file = File::options().read(true).write(true).open(path).unwrap();
        match StateFile::open(file).unwrap().1 {
            Held::State(state) => state.map(|state| *state),
            Held::Newer(version) => panic!("version {version}"),
        }
    }

    fn written(path: &std::path::Path, epochs: &[u64]) {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap();
        let (mut file, _) = StateFile::open(file).unwrap();
        for epoch in epochs {
            file.write(&state(*epoch), false).unwrap();
        }
    }

    #[test]
    fn the_newest_state_is_read_and_the_file_keeps_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        written(&path, &[]);
        assert_eq!(reopened(&path), None);
        written(&path, &[1, 2, 3]);
        assert_eq!(reopened(&path), Some(state(3)));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), FILE_BYTES);
    }

    #[test]
    fn a_write_cut_anywhere_leaves_the_state_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        written(&path, &[1]);
        let before = std::fs::read(&path).unwrap();
        written(&path, &[2]);
        let after = std::fs::read(&path).unwrap();
        let changed: Vec<usize> = (0..after.len())
            .filter(|at| after[*at] != before[*at])
            .collect();
        let (first, last) = (changed[0], *changed.last().unwrap());
        for cut in first..=last {
            let mut torn = after.clone();
            torn[cut..].copy_from_slice(&before[cut..]);
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(reopened(&path), Some(state(1)), "cut at {cut}");
        }
        std::fs::write(&path, &after).unwrap();
        assert_eq!(reopened(&path), Some(state(2)));
    }
}
