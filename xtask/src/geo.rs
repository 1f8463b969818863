//! `geo`: makes the embedded files of places, netmon-geo/data/country.bin and china.bin, from the two
//! packages that have the data, or shows that they are what these give.

mod ip2region;
mod packages;
mod tor;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use netmon_geo::range_file::RangeFile;

use crate::workspace::root;

/// What `geo` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// Write nothing; fail if a file does not hold what the packages give
    #[arg(long)]
    check: bool,
    /// Take the packages from this directory instead of downloading them to target/geo
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// Where the names in the Chinese data stand, for a test of netmon-geo.
const NAMES: &str = "netmon-geo/tests/data/ip2region-names.tsv";

/// Runs the command.
///
/// # Errors
/// When a package cannot be had or is not the one that is pinned, when its data is not understood, or
/// with `--check` when a file differs.
pub fn run(options: &Options) -> Result<ExitCode> {
    let directory = packages::fetch(options.from.as_deref())?;
    let tor = packages::unpack(&packages::TOR, &directory)?;
    let ip2region = packages::unpack(&packages::IP2REGION, &directory)?;

    let country = tor::convert(
        &packages::TOR,
        &fs::read_to_string(tor.path().join("usr/share/tor/geoip"))?,
        &fs::read_to_string(tor.path().join("usr/share/tor/geoip6"))?,
    )?;
    let data = fs::read(ip2region.path().join("package/data/ip2region.db"))?;
    let (china, names) = ip2region::convert(&packages::IP2REGION, &data)?;

    let places = |file: &RangeFile| {
        let all = file.v4().map(|(_, place)| place);
        let all = all.chain(file.v6().map(|(_, place)| place));
        all.collect::<BTreeSet<_>>().len()
    };
    for (name, file) in [("country.bin", &country), ("china.bin", &china)] {
        let path = root().join("netmon-geo/data").join(name);
        println!(
            "{name}: {}; {} ranges of IPv4, {} of IPv6, {} places",
            file.description(),
            file.v4().count(),
            file.v6().count(),
            places(file),
        );
        match options.check {
            true => check(&path, file)?,
            false => {
                let bytes = file.to_bytes();
                fs::write(&path, &bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                println!("wrote {} ({} octets)", path.display(), bytes.len());
            }
        }
    }
    let path = root().join(NAMES);
    match options.check {
        true => ensure!(
            fs::read_to_string(&path)? == names,
            "{NAMES} is not what the package gives: run `cargo xtask geo`"
        ),
        false => fs::write(&path, names)?,
    }
    if options.check {
        println!("the files hold what the packages give");
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares what is in a file, not how it is compressed: compressors change.
fn check(path: &Path, expected: &RangeFile) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found =
        RangeFile::from_bytes(&bytes).with_context(|| format!("cannot use {}", path.display()))?;
    ensure!(
        found.description() == expected.description()
            && found.v4().eq(expected.v4())
            && found.v6().eq(expected.v6()),
        "{} is not what the packages give: run `cargo xtask geo`",
        path.display()
    );
    Ok(())
}
