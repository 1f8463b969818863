//! Building the programs that commands run.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;

use crate::workspace::{cargo, succeed, target_directory};

/// How the programs are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build.
    Debug,
    /// Fast to run.
    Release,
}

/// Where the programs of a build lie.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The sensor.
    pub agent: PathBuf,
    /// The server.
    pub server: PathBuf,
}

/// Builds agent (with the kernel programs in it) and server; cargo shows the progress.
///
/// # Errors
/// When cargo does.
pub fn programs(profile: Profile) -> Result<Programs> {
    println!("building netmon-server and netmon-agent (minutes the first time)");
    let started = Instant::now();
    let mut build = cargo();
    build.args(["build", "-p", "netmon-server", "-p", "netmon-agent"]);
    let directory = match profile {
        Profile::Debug => target_directory().join("debug"),
        Profile::Release => {
            build.arg("--release");
            target_directory().join("release")
        }
    };
    succeed(&mut build)?;
    println!("built in {:.0?}", started.elapsed());
    Ok(Programs {
        agent: directory.join("netmon-agent"),
        server: directory.join("netmon-server"),
    })
}
