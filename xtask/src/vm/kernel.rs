//! A kernel from a package of Debian, unpacked under `target/kernels` and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::run;

use super::modules::Modules;
use crate::{
    setup::{apt, needs, step},
    workspace::target_directory,
};

/// The package that depends on the newest kernel of the series that Debian's release came with.
const NEWEST: &str = "linux-image-amd64";
/// What the first program needs to reach the host's files.
const FIRST_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// Written last: what lies beside it is complete.
const COMPLETE: &str = "complete";

/// Which kernel is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The newest Linux of this series that Debian has, such as `6.1`.
    Debian(String),
    /// The one in this package (`linux-image-….deb`).
    Package(PathBuf),
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let series = text.strip_prefix("debian-").filter(|series| {
            let mut numbers = series.split('.');
            let are_numbers = |part: &str| part.parse::<u16>().is_ok();
            numbers.clone().count() == 2 && numbers.all(are_numbers)
        });
        match series {
            Some(series) => Ok(Self::Debian(series.to_owned())),
            None if text.ends_with(".deb") => Ok(Self::Package(text.into())),
            None => Err("debian-6.1 or the path of a linux-image-….deb".to_owned()),
        }
    }
}

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// What `uname -r` will say.
    pub release: String,
    /// The file that is booted.
    pub image: PathBuf,
    /// All its modules, with what depmod says of them.
    pub modules: PathBuf,
}

impl Kernel {
    /// Unpacks the kernel unless an earlier run has.
    ///
    /// # Errors
    /// When there is no such package, or it holds no kernel.
    pub fn unpack(&self) -> Result<Unpacked> {
        let name = match self {
            Self::Debian(series) => format!("debian-{series}"),
            Self::Package(path) => path
                .file_stem()
                .context("a package has a name")?
                .to_string_lossy()
                .into_owned(),
        };
        let directory = target_directory().join("kernels").join(name);
        if !directory.join(COMPLETE).exists() {
            let _ = fs::remove_dir_all(&directory);
            match self {
                Self::Debian(series) => fetch(series, &directory)?,
                Self::Package(path) => apt::extract(path, &directory)?,
            }
            list_modules(&directory)?;
            fs::write(directory.join(COMPLETE), "")?;
        }
        Unpacked::find(&directory)
    }
}

fn fetch(series: &str, directory: &Path) -> Result<()> {
    apt::update()?;
    let package = newest(series)?;
    step(&format!(
        "unpacking {package} in {} (not installed: this machine goes on booting its own kernel)",
        directory.display()
    ));
    let download = tempfile::tempdir().context("cannot make a temporary directory")?;
    let archive = apt::download_into(download.path(), &package)?;
    apt::extract(&archive, directory)
}

/// The package of the newest kernel of the series. Of newer ones than that of the release there are
/// packages with the series in their name.
fn newest(series: &str) -> Result<String> {
    let prefix = format!("linux-image-{series}.");
    let of_series = format!("linux-image-{series}-amd64");
    let mut seen = Vec::new();
    for package in [NEWEST, &of_series] {
        // An unknown package depends on nothing.
        let mut ask = Command::new("apt-cache");
        let depends = run(ask.args(["depends", "--important", package])).unwrap_or_default();
        let lines = depends.lines().map(str::trim);
        let packages = lines.filter_map(|line| line.strip_prefix("Depends: "));
        seen.extend(packages.map(str::to_owned));
    }
    match seen.iter().position(|name| name.starts_with(&prefix)) {
        Some(found) => Ok(seen.swap_remove(found)),
        None => bail!(
            "the packages of this system hold no Linux {series} (but {}): name a downloaded one, \
             --kernel linux-image-….deb",
            seen.join(", ")
        ),
    }
}

/// Lets depmod write down which module needs which; the package leaves that to its installation.
fn list_modules(directory: &Path) -> Result<()> {
    let release = release(directory)?;
    let base = directory.canonicalize()?;
    run(Command::new(busybox()?)
        .args(["depmod", "-b"])
        .arg(&base)
        .arg(&release))
    .map(drop)
}

/// The program without libraries that `setup` has unpacked.
pub fn busybox() -> Result<PathBuf> {
    let tools = netmon_lab::programs::unpacked_tools().context("no directory of tools")?;
    Ok(tools.join(needs::BUSYBOX))
}

/// The one kernel whose modules lie in the directory.
fn release(directory: &Path) -> Result<String> {
    let modules = directory.join("lib/modules");
    let entry = fs::read_dir(&modules)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .with_context(|| format!("{} is no kernel's package", directory.display()))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

impl Unpacked {
    fn find(directory: &Path) -> Result<Self> {
        let release = release(directory)?;
        let image = directory.join("boot").join(format!("vmlinuz-{release}"));
        if !image.exists() {
            bail!("there is no {}", image.display());
        }
        Ok(Self {
            modules: directory.join("lib/modules").join(&release),
            image,
            release,
        })
    }

    /// The modules to load before anything else, in order: their names and contents.
    ///
    /// # Errors
    /// When one is missing.
    pub fn first_modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let list = self.modules.join("modules.dep");
        let text = fs::read_to_string(&list).with_context(|| format!("no {}", list.display()))?;
        let paths = Modules::parse(&text).in_order(&FIRST_MODULES)?;
        paths
            .into_iter()
            .map(|path| {
                let file = path.rsplit('/').next().unwrap_or(path);
                let content = fs::read(self.modules.join(path))
                    .with_context(|| format!("cannot read {path}"))?;
                Ok((file.to_owned(), content))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_a_series_of_debian_or_a_package() {
        let debian = Kernel::Debian("6.1".to_owned());
        assert_eq!("debian-6.1".parse(), Ok(debian));
        let package = Kernel::Package("/tmp/linux-image-6.12.deb".into());
        assert_eq!("/tmp/linux-image-6.12.deb".parse(), Ok(package));
        for wrong in ["", "6.1", "debian-", "debian-6", "debian-6.1/..", "debian"] {
            assert!(wrong.parse::<Kernel>().is_err(), "{wrong}");
        }
    }
}
