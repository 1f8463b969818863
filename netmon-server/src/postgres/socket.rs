//! The directory of the database's Unix socket, whose path has a length limit.

use std::{
    fs::{self, DirBuilder},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::{PostgresError, owner::Owner};

/// The number in the socket's name; there is no TCP port.
pub(super) const PORT: u16 = 5432;

/// `sun_path` of unix(7) holds 108 bytes with the final zero, and PostgreSQL appends this.
const MAX_DIR_BYTES: usize = 107 - "/.s.PGSQL.5432".len();

/// Where the socket of the server in `data_dir` lies: inside of it, or if that path is too long
/// in a directory of its own under `/run` (as root) or `/tmp`.
pub(super) fn dir(data_dir: &Path, is_root: bool) -> PathBuf {
    let inside = data_dir.join("socket");
    if inside.as_os_str().as_bytes().len() <= MAX_DIR_BYTES {
        return inside;
    }
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    let base = if is_root && Path::new("/run").is_dir() {
        "/run"
    } else {
        "/tmp"
    };
    Path::new(base).join(format!("netmon-server-{:016x}", hasher.finish()))
}

/// Makes the directory, or checks that it is what was made before: anyone may write to `/tmp`.
pub(super) fn prepare(dir: &Path, owner: &Owner) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => owner
            .take(dir)
            .map_err(PostgresError::file("hand over", dir)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(dir).map_err(PostgresError::file("look at", dir))?;
            let private = meta.is_dir() && meta.mode() & 0o077 == 0;
            match private && meta.uid() == owner.uid.as_raw() {
                true => Ok(()),
                false => Err(PostgresError::SocketDir(dir.to_owned())),
            }
        }
        Err(error) => Err(PostgresError::file("create", dir)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn every_socket_path_fits_into_its_address() {
        for length in [1, 70, 86, 87, 88, 200] {
            let data_dir = PathBuf::from(format!("/{}", "d".repeat(length)));
            let socket = dir(&data_dir, false).join(".s.PGSQL.5432");
            let bound = std::os::unix::net::SocketAddr::from_pathname(&socket);
            assert!(bound.is_ok(), "{socket:?}");
        }
    }

    #[test]
    fn the_longest_directory_allowed_can_be_bound() {
        let base = tempfile::tempdir().unwrap();
        let left = MAX_DIR_BYTES - base.path().as_os_str().len() - "/".len();
        let longest = base.path().join("d".repeat(left));
        fs::create_dir(&longest).unwrap();
        UnixListener::bind(longest.join(".s.PGSQL.5432")).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let owner = Owner::choose(base.path()).unwrap();
        let path = base.path().join("socket");
        prepare(&path, &owner).unwrap();
        prepare(&path, &owner).unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            prepare(&link, &owner),
            Err(PostgresError::SocketDir(_))
        ));
    }
}
