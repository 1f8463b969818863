//! The Unix socket: made with care about what lies there already, removed at the end.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// For the agent's user; root can in any case.
const MODE: u32 = 0o600;

/// There is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error(
        "cannot listen on {path}: {source}; set status.socket to a path in a directory that the \
         agent may write to"
    )]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent answers there.
    #[error("another agent answers on {0}; each needs a status.socket of its own")]
    Answered(PathBuf),
    /// Something that is not ours.
    #[error("{0} is there and is no socket; set status.socket to another path")]
    Occupied(PathBuf),
}

/// A socket that listens. Dropping it removes it, unless it is another's by then.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Socket {
    /// Listens at `path`. What a killed agent left there is replaced; an agent that answers is not.
    ///
    /// # Errors
    /// When the path is taken, or nothing can be made there.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let refused = |source| SocketError::Refused {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::Occupied(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(SocketError::Answered(path.to_owned()));
            }
            // A leftover, or nothing. What cannot be looked at cannot be made either.
            _ => {}
        }
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(directory).map_err(refused)?;
        }
        // Under another name until its mode is right; its place is taken in one step.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let made = || -> io::Result<Self> {
            let listener = UnixListener::bind(&new)?;
            listener.set_nonblocking(true)?;
            fs::set_permissions(&new, Permissions::from_mode(MODE))?;
            fs::rename(&new, path)?;
            let identity = identity(path)?;
            Ok(Self {
                listener,
                path: path.to_owned(),
                identity,
            })
        };
        made().map_err(|source| {
            let _ = fs::remove_file(&new);
            refused(source)
        })
    }

    /// For accepting.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Gone is as good as removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/status.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_agent_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener does not remove its name");
        let _socket = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn an_agent_that_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let _first = Socket::bind(&path).unwrap();
        let refused = Socket::bind(&path).unwrap_err();
        assert!(matches!(refused, SocketError::Answered(_)), "{refused}");
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&path).unwrap_err();
        assert!(matches!(refused, SocketError::Occupied(_)), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_socket_of_a_later_agent_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let first = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
