//! File systems for programs of one namespace, gone when they are.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{Child, Namespace, Signal};

/// A file system to mount.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// As mount(8) takes it, such as `tmpfs` or `bpf`.
    pub kind: &'a str,
    /// `-o`, such as `size=2m,mode=0777`.
    pub options: &'a str,
    /// Where, an existing directory.
    pub at: &'a Path,
}

/// A mount namespace with file systems of its own: a process holds it open, and everything goes
/// with that process. What is mounted is invisible elsewhere, except through [`Mounts::path`].
#[derive(Debug)]
pub struct Mounts {
    keeper: Child,
    namespace: Namespace,
}

impl Mounts {
    /// Mounts the file systems for programs inside `namespace`.
    ///
    /// # Errors
    /// When mount(8) refuses one.
    pub fn new(namespace: &Namespace, mounts: &[Mount<'_>]) -> Result<Self> {
        let script = "while [ $# -gt 0 ]; do mount -t \"$1\" -o \"$2\" none \"$3\" || exit 1; shift 3; done; \
                      echo ready; exec sleep infinity";
        let mut command = namespace.command("sh");
        command.args(["-c", script, "mounts"]);
        for mount in mounts {
            command.args([mount.kind, mount.options]).arg(mount.at);
        }
        command.stdout(Stdio::piped());
        let mut keeper = Child::spawn("the keeper of mounts", command, Signal::SIGKILL)?;
        let output = keeper.pipes().stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("a file system cannot be mounted: {mounts:?}");
        }
        Ok(Self {
            keeper,
            namespace: namespace.clone(),
        })
    }

    /// A command that will run inside the network namespace and see the file systems.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .arg(program);
        command
    }

    /// Where a path inside is found from outside.
    #[must_use]
    pub fn path(&self, inside: &Path) -> PathBuf {
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(inside)
    }
}
