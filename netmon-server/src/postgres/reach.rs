//! Whether the user that runs PostgreSQL gets to where it has to.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{PostgresError, child, owner::Owner};

/// Tries it: runs `program --version` as `owner` in the directory `dir`.
///
/// Starts a child: call it from any thread, it ends at once.
pub(super) fn check(owner: &Owner, program: &Path, dir: &Path) -> Result<(), PostgresError> {
    let tried = child::command(program, owner, dir)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let Err(source) = tried else { return Ok(()) };
    if source.kind() != io::ErrorKind::PermissionDenied {
        return Err(PostgresError::Spawn {
            program: program.to_owned(),
            source,
        });
    }
    let (target, closed) = match (closed_ancestor(owner, dir), closed_ancestor(owner, program)) {
        (None, Some(closed)) => (program, Some(closed)),
        (closed, _) => (dir, closed),
    };
    let remedy = match closed {
        Some(closed) => format!("open the way by chmod o+x {closed:?}, or choose another data_dir"),
        None => "permission denied".to_owned(),
    };
    Err(PostgresError::Unreachable {
        user: owner.name.clone(),
        target: target.to_owned(),
        remedy,
    })
}

/// The first directory on the way to and including `path` whose mode does not let `owner` pass.
fn closed_ancestor(owner: &Owner, path: &Path) -> Option<PathBuf> {
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    let closed = ways.into_iter().find(|way| {
        way.metadata().is_ok_and(|meta| {
            let bit = match () {
                () if meta.uid() == owner.uid.as_raw() => 0o100,
                () if meta.gid() == owner.gid.as_raw() => 0o010,
                () => 0o001,
            };
            meta.mode() & bit == 0
        })
    });
    closed.map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use nix::unistd::{Gid, Uid, geteuid};

    use super::*;

    #[test]
    fn the_directory_in_the_way_is_named_with_the_remedy() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inner = dir.path().join("open/data");
        fs::create_dir_all(&inner).unwrap();
        let owner = Owner {
            name: "nobody".to_owned(),
            uid: Uid::from_raw(65534),
            gid: Gid::from_raw(65534),
            server_name: "root".to_owned(),
        };
        let message = check(&owner, Path::new("/bin/true"), &inner)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&format!("chmod o+x {:?}", dir.path())),
            "{message}"
        );
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        check(&owner, Path::new("/bin/true"), &inner).unwrap();
    }
}
