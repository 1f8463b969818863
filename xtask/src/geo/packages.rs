//! The packages with the data: downloaded by their own clients, known by their check sums.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use ring::digest;
use tempfile::TempDir;

use crate::workspace::{succeed, target_directory};

/// A package of a release.
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its release.
    pub version: &'static str,
    /// The file that the client writes.
    file: &'static str,
    /// Of that file, in hexadecimal digits.
    sha256: &'static str,
    /// Where it can be had when the client has it no more.
    elsewhere: &'static str,
    client: Client,
}

enum Client {
    Apt,
    Npm,
}

/// Countries: the IPFire Location Database as Tor converts it (CC BY-SA 4.0).
pub const TOR: Package = Package {
    name: "tor-geoipdb",
    version: "0.4.9.11-0+deb12u1",
    file: "tor-geoipdb_0.4.9.11-0+deb12u1_all.deb",
    sha256: "5ba963de51fa4f99dcbd6a017446c5b008ea115a04947a200bd4b0b0edf53399",
    elsewhere: "https://snapshot.debian.org/package/tor/",
    client: Client::Apt,
};

/// Chinese provinces and cities: the data of ip2region (Apache-2.0).
pub const IP2REGION: Package = Package {
    name: "ip2region",
    version: "2.3.0",
    file: "ip2region-2.3.0.tgz",
    sha256: "1c5777cd2fde5dceab82de858c9a2cd20304b3d50a7b5a80c48d10706020bc11",
    elsewhere: "https://www.npmjs.com/package/ip2region",
    client: Client::Npm,
};

/// The directory with both packages, which are the pinned ones.
pub fn fetch(from: Option<&Path>) -> Result<PathBuf> {
    let directory = match from {
        Some(directory) => directory.to_owned(),
        None => target_directory().join("geo"),
    };
    for package in [&TOR, &IP2REGION] {
        let path = directory.join(package.file);
        if !path.exists() && from.is_none() {
            fs::create_dir_all(&directory)?;
            package.download(&directory)?;
        }
        package.verify(&path)?;
    }
    Ok(directory)
}

/// What is in a package.
pub fn unpack(package: &Package, directory: &Path) -> Result<TempDir> {
    let unpacked = tempfile::tempdir()?;
    let file = directory.join(package.file);
    let mut command = match package.client {
        Client::Apt => {
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(file).arg(unpacked.path());
            command
        }
        Client::Npm => {
            let mut command = Command::new("tar");
            command.arg("-xzf").arg(file).arg("-C").arg(unpacked.path());
            command
        }
    };
    succeed(&mut command)?;
    Ok(unpacked)
}

impl Package {
    fn download(&self, to: &Path) -> Result<()> {
        let (mut command, what) = match self.client {
            Client::Apt => {
                let what = format!("{}={}", self.name, self.version);
                let mut command = Command::new("apt-get");
                command.args(["download", &what]);
                (command, what)
            }
            Client::Npm => {
                let what = format!("{}@{}", self.name, self.version);
                let mut command = Command::new("npm");
                command.args(["pack", "--silent", &what]);
                (command, what)
            }
        };
        println!("downloading {what} to {}", to.display());
        succeed(command.current_dir(to)).with_context(|| {
            format!(
                "cannot download {what}: put {} from {} into a directory and name it by --from",
                self.file, self.elsewhere
            )
        })
    }

    fn verify(&self, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = digest::digest(&digest::SHA256, &content);
        let digits = digest.as_ref().iter();
        let digits: String = digits.map(|octet| format!("{octet:02x}")).collect();
        if digits != self.sha256 {
            bail!(
                "{} is not the package that is pinned (SHA-256 {digits}, not {}): remove it, or pin \
                 another one in xtask/src/geo/packages.rs",
                path.display(),
                self.sha256
            );
        }
        Ok(())
    }
}
