//! The operating system's user that runs PostgreSQL.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::{
    errno::Errno,
    unistd::{Gid, Uid, User, chown, geteuid},
};

use super::PostgresError;

/// Who runs PostgreSQL and owns its files.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// The name of the user this process runs as.
    pub(super) server_name: String,
}

impl Owner {
    /// This process's user, unless that is root, which PostgreSQL refuses: then the owner of the
    /// cluster if there is one, else `postgres`, else `nobody`.
    pub(super) fn choose(data: &Path) -> Result<Self, PostgresError> {
        let own = by_uid(geteuid())?;
        let present = std::fs::metadata(data)
            .ok()
            .map(|meta| Uid::from_raw(meta.uid()));
        let user = match present {
            _ if !own.uid.is_root() => {
                if let Some(uid) = present.filter(|uid| *uid != own.uid) {
                    let owner = by_uid(uid).map_or(uid.to_string(), |user| user.name);
                    return Err(PostgresError::NotOurs {
                        data: data.to_owned(),
                        owner,
                    });
                }
                own.clone()
            }
            Some(uid) if !uid.is_root() => by_uid(uid)?,
            _ => ["postgres", "nobody"]
                .into_iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .ok_or(PostgresError::NoUser)?,
        };
        Ok(Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            server_name: own.name,
        })
    }

    /// Whether a child has to change its user.
    pub(super) fn is_other(&self) -> bool {
        self.uid != geteuid()
    }

    /// Gives `path` to this user.
    pub(super) fn take(&self, path: &Path) -> io::Result<()> {
        match self.is_other() {
            true => Ok(chown(path, Some(self.uid), Some(self.gid))?),
            false => Ok(()),
        }
    }

    /// Opens this user's file `path` to append to it. The user may have put something else there
    /// for root to write to.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .append(true)
            // Nor wait for the reader of a pipe.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(number) if number == Errno::ELOOP as i32 => {
                    io::Error::other("it is a symbolic link: put the file itself there")
                }
                _ => error,
            })?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.uid() != self.uid.as_raw() {
            let problem = format!("it is not a file of user {}: give it to them", self.name);
            return Err(io::Error::other(problem));
        }
        Ok(file)
    }
}

fn by_uid(uid: Uid) -> Result<User, PostgresError> {
    User::from_uid(uid)
        .ok()
        .flatten()
        .ok_or(PostgresError::Nameless(uid.as_raw()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn only_the_users_own_file_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut owner = Owner::choose(dir.path()).unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "one\n").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        owner.uid = geteuid();
        writeln!(owner.open(&path).unwrap(), "two").unwrap();
        let refused = owner.open(&link).unwrap_err().to_string();
        assert!(refused.contains("symbolic link"), "{refused}");
        owner.uid = Uid::from_raw(65533);
        let refused = owner.open(&path).unwrap_err().to_string();
        assert!(refused.contains("not a file of user"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
