//! The operating system's user that runs PostgreSQL.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Gid, Uid, User, chown, geteuid};

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
}

fn by_uid(uid: Uid) -> Result<User, PostgresError> {
    User::from_uid(uid)
        .ok()
        .flatten()
        .ok_or(PostgresError::Nameless(uid.as_raw()))
}
