//! tcpdump writing the same packets to memory, and tshark decoding what it has written.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use netmon_lab::{Child, Signal, programs};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tempfile::TempDir;

use crate::{
    options::Options,
    process::{self, Usage},
    report,
    site::{INTERFACE, Site, pause},
    tool::{Tool, number},
    traffic::Traffic,
};

/// What the agent reads of a packet, as far as tshark has names for it.
pub const FIELDS: [&str; 19] = [
    "frame.time_epoch",
    "ip.src",
    "udp.srcport",
    "ip.dst",
    "udp.dstport",
    "ip.ttl",
    "ntp.flags.li",
    "ntp.flags.vn",
    "ntp.flags.mode",
    "ntp.stratum",
    "ntp.ppoll",
    "ntp.precision",
    "ntp.rootdelay",
    "ntp.rootdispersion",
    "ntp.refid",
    "ntp.reftime",
    "ntp.org",
    "ntp.rec",
    "ntp.xmt",
];

/// What tcpdump did with the flood.
pub struct Captured {
    /// Packets a second that were sent.
    pub rate: f64,
    pub arrived: u64,
    pub captured: u64,
    pub dropped: u64,
    pub usage: Usage,
    pub peak: u64,
    pub octets: u64,
}

/// What tshark did with the file.
pub struct Decoded {
    pub packets: u64,
    /// Seconds.
    pub elapsed: f64,
    pub usage: Usage,
    pub peak: u64,
}

pub fn run(site: &mut Site, options: &Options) -> Result<()> {
    report::decoders(options);
    let folder = in_memory(&options.memory)?;
    let file = folder.path().join("ntp.pcap");
    // Somebody else's program may be missing, or fail.
    match capture(site, options, &file) {
        Ok(captured) => report::captured(&captured),
        Err(failure) => {
            report::failed("tcpdump", &format!("{failure:#}"));
            return Ok(());
        }
    }
    pause(Duration::ZERO)?;
    match decode(site, options, &file) {
        Ok(decoded) => report::decoded(&decoded),
        Err(failure) => report::failed("tshark", &format!("{failure:#}")),
    }
    Ok(())
}

fn in_memory(parent: &Path) -> Result<TempDir> {
    let kind = statfs(parent).with_context(|| parent.display().to_string())?;
    ensure!(
        kind.filesystem_type() == TMPFS_MAGIC,
        "{} is not in memory: name a tmpfs by --memory",
        parent.display()
    );
    Ok(tempfile::Builder::new()
        .prefix("netmon-bench-")
        .tempdir_in(parent)?)
}

fn capture(site: &mut Site, options: &Options, file: &Path) -> Result<Captured> {
    let mut command = site.place.command(programs::find("tcpdump")?);
    // As root to the end: the user that tcpdump becomes may not write here.
    command
        .args(["-Z", "root", "-i", INTERFACE, "-n", "-w"])
        .arg(file);
    let mut tcpdump = Tool::start(site, "tcpdump", command, "listening on")?;
    let arrived_before = site.arrived()?;
    let before = process::usage(tcpdump.id())?;
    let sent = site.send(Traffic::pace(options.rate, options.capture_window()))?;
    let usage = (process::usage(tcpdump.id())? - before) / sent.elapsed;
    let arrived = site.arrived()? - arrived_before;
    let peak = process::memory(tcpdump.id(), "VmHWM")?;
    tcpdump.end(Signal::SIGINT)?;
    let said = tcpdump.said();
    Ok(Captured {
        rate: sent.rate(),
        arrived,
        captured: number(&said, "packets captured")?,
        dropped: number(&said, "packets dropped by kernel")?,
        usage,
        peak,
        octets: fs::metadata(file)?.size(),
    })
}

fn decode(site: &Site, options: &Options, file: &Path) -> Result<Decoded> {
    let mut command = site.place.command(programs::find("tshark")?);
    command
        .args(["-n", "-T", "fields", "-c", &options.decoded().to_string()])
        .args(FIELDS.iter().flat_map(|field| ["-e", field]))
        .arg("-r")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(fs::File::create(site.path("tshark.out"))?)
        .stderr(fs::File::create(site.path("tshark.log"))?);
    let mut tshark = Child::spawn("tshark", command, Signal::SIGKILL)?;
    let began = Instant::now();
    let (mut usage, mut peak) = (Usage::default(), 0);
    let status = loop {
        if let Some(status) = tshark.exited()? {
            break status;
        }
        if let (Ok(now), Ok(most)) = (
            process::usage(tshark.id()),
            process::memory(tshark.id(), "VmHWM"),
        ) && now.both > usage.both
        {
            (usage, peak) = (now, most.max(peak));
        }
        pause(Duration::from_millis(20))?;
    };
    let elapsed = began.elapsed();
    if !status.success() {
        let said = fs::read_to_string(site.path("tshark.log")).unwrap_or_default();
        bail!("it ended with {status}: {}", said.trim());
    }
    let lines = BufReader::new(fs::File::open(site.path("tshark.out"))?).split(b'\n');
    let packets = lines.count() as u64;
    ensure!(packets > 0, "it has decoded nothing");
    Ok(Decoded {
        packets,
        elapsed: elapsed.as_secs_f64(),
        usage,
        peak,
    })
}
