//! The managed database: a PostgreSQL of the server's own, in `data_dir/postgres`.
//!
//! Its processes are children of one thread that lives as long as the server. The kernel tells
//! them when that thread dies (`PR_SET_PDEATHSIG`), so that a killed server leaves none behind.

mod binaries;
mod child;
mod cluster;
mod initialise;
mod leftovers;
mod log;
mod owner;
mod reach;
mod socket;
mod supervisor;

use std::{io, path::PathBuf};

pub use self::{cluster::Cluster, supervisor::Supervisor};

/// The oldest major version the server works with.
pub const MIN_MAJOR: u32 = 15;

/// Why there is no managed database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No usable PostgreSQL is installed.
    #[error(
        "PostgreSQL {MIN_MAJOR} or newer is not found ({searched}): install it (Debian: apt-get \
         install postgresql), name its directory in database.bin_dir, or set database.url to use \
         another machine's"
    )]
    NotInstalled {
        /// Where it was looked for, and what was found instead.
        searched: String,
    },
    /// The cluster was made by a major version that is not installed.
    #[error(
        "the database in {data:?} was made by PostgreSQL {found}, which is not installed (there \
         is {installed}): install postgresql-{found} beside it and start again; or upgrade: as \
         user {user} make a new cluster with the new version's initdb --data-checksums \
         --locale=C --encoding=UTF8 --username=postgres, then run its pg_upgrade \
         --username=postgres --old-bindir=… --new-bindir=… --old-datadir={data:?} \
         --new-datadir=…, keep pg_hba.conf, pg_ident.conf and postgresql.conf, and put the new \
         cluster in place of the old one"
    )]
    ForeignVersion {
        /// The cluster.
        data: PathBuf,
        /// Its major version.
        found: String,
        /// The versions that are installed.
        installed: String,
        /// Who owns the cluster.
        user: String,
    },
    /// The directory holds something else.
    #[error("{0:?} is not empty and not a PostgreSQL cluster: move it away")]
    NotACluster(PathBuf),
    /// Two servers on one directory.
    #[error("another netmon-server is running on {0:?}: stop it, or choose another data_dir")]
    InUse(PathBuf),
    /// PostgreSQL refuses to run as root and nobody else is there to run it.
    #[error(
        "no user to run PostgreSQL as: it refuses root, and neither postgres nor nobody exists"
    )]
    NoUser,
    /// The user of a cluster, or of this process, has no entry in the user database.
    #[error("user id {0} has no name, which PostgreSQL needs: add it to /etc/passwd")]
    Nameless(u32),
    /// The cluster belongs to somebody else and this process may not become that user.
    #[error("{data:?} belongs to user {owner}: run the server as that user or as root")]
    NotOurs {
        /// The cluster.
        data: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// A directory on the way is closed to the user that runs PostgreSQL.
    #[error("user {user}, who runs PostgreSQL, cannot reach {target:?}: {remedy}")]
    Unreachable {
        /// The user.
        user: String,
        /// What it has to reach.
        target: PathBuf,
        /// How to open the way.
        remedy: String,
    },
    /// A directory for sockets that somebody else has prepared.
    #[error("{0:?} is not a private directory of the database's user: remove it")]
    SocketDir(PathBuf),
    /// A file or directory cannot be used.
    #[error("cannot {action} {path:?}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program of PostgreSQL cannot be started.
    #[error("cannot start {program:?}: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Making the cluster failed.
    #[error("{step} failed ({status}): {output}")]
    Step {
        /// Which part.
        step: &'static str,
        /// How its program ended.
        status: std::process::ExitStatus,
        /// What it printed last.
        output: String,
    },
    /// Processes of an earlier run do not go away.
    #[error("processes {0:?} of an earlier run still hold the database and cannot be killed")]
    Leftovers(Vec<i32>),
    /// Asked to stop before the database was there.
    #[error("stopped before the database was ready")]
    Stopped,
}

impl PostgresError {
    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
