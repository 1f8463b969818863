//! `netmon-agent replay`: captures through the programs, the parser and the pairing that live
//! packets go through, with the capture's clock.

pub mod capture;
mod input;
mod interfaces;
mod kernel;
mod link;
mod output;
mod player;
mod record;
mod sight;
mod tunnel;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use netmon_common::ntp::{NtpPorts, NtpPortsError, PORT};

pub use self::{capture::OpenError, kernel::KernelError, output::Format};
use self::{kernel::Kernel, output::Output, player::Player};
use crate::ntp::Vantage;

/// What `replay` can be told.
#[derive(Debug, Args)]
pub struct Options {
    /// Captures in pcap or pcapng, also gzipped; `-` is standard input. Several are read one after
    /// the other as parts of one capture.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How records are written.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write a record for each packet of these as well.
    #[arg(long, value_enum, value_name = "KIND")]
    packets: Vec<PacketKind>,
    /// A port on which NTP is read instead of 123; repeat it for up to eight.
    #[arg(long, value_name = "PORT", default_values_t = [PORT])]
    ntp_port: Vec<u16>,
    /// Read with the same parser in user space instead of in the kernel: needs no privileges.
    #[arg(long)]
    userspace: bool,
    /// Where on the path the capture was taken, which a file cannot tell; `client` says too that its
    /// clock is the client's.
    #[arg(long, value_enum, value_name = "PLACE")]
    vantage: Option<Vantage>,
}

/// Packets that can have records of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PacketKind {
    /// NTP, fields as they stood on the wire.
    Ntp,
}

/// Why a replay ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Ports that are none.
    #[error("--ntp-port: {0}")]
    Ports(#[from] NtpPortsError),
    /// The way through the kernel is closed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Nobody takes the records.
    #[error("cannot write the records: {0}")]
    Output(#[from] io::Error),
    /// There is no runtime to poll the ring buffer in.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

/// Runs the command.
pub fn main(options: &Options) -> ExitCode {
    match replay(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read them has seen enough.
        Err(ReplayError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("netmon-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every file could be opened.
fn replay(options: &Options) -> Result<bool, ReplayError> {
    let ports = NtpPorts::new(options.ntp_port.iter().copied())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ReplayError::Runtime)?;
    // The kernel's ring buffer wants a runtime around it, although nothing here waits for it.
    let _entered = runtime.enter();
    let kernel = if options.userspace {
        None
    } else {
        Some(Kernel::load(&ports)?)
    };
    let stdout = io::stdout();
    let live = stdout.is_terminal();
    let output = Output::new(stdout.lock(), options.format);
    let ntp = options.packets.contains(&PacketKind::Ntp);
    let mut player = Player::new(kernel, output, ntp, ports, options.vantage);
    let mut opened = 0;
    for path in &options.files {
        match play(&mut player, path, options.files.len() > 1, live)? {
            Ok(()) => opened += 1,
            Err(error) => eprintln!("netmon-agent: {}: {error}", path.display()),
        }
    }
    if opened > 0 {
        player.finish()?;
    }
    Ok(opened == options.files.len())
}

/// Plays a capture without a kernel: what `--userspace` does with a file.
///
/// # Errors
///
/// [`OpenError`] when it is no capture; within the outer one, when nobody takes the records.
pub fn userspace(
    capture: impl io::Read,
    format: Format,
    to: impl io::Write,
) -> Result<Result<(), OpenError>, ReplayError> {
    let mut capture = match capture::Capture::open(capture) {
        Ok(capture) => capture,
        Err(error) => return Ok(Err(error)),
    };
    let mut player = Player::new(
        None,
        Output::new(to, format),
        true,
        NtpPorts::default(),
        None,
    );
    while let Some(frame) = capture.next_frame() {
        player.frame(None, &frame)?;
    }
    player.lose(capture.losses());
    player.finish()?;
    Ok(Ok(()))
}

/// Plays one file.
fn play<W: io::Write>(
    player: &mut Player<W>,
    path: &Path,
    one_of_several: bool,
    live: bool,
) -> Result<Result<(), OpenError>, ReplayError> {
    const SHOW_EVERY: u64 = 1024;
    let name = path.display().to_string();
    let (mut capture, progress) = match input::open(path) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    while let Some(frame) = capture.next_frame() {
        if frame.number.is_multiple_of(SHOW_EVERY) {
            progress.show();
            if live {
                player.flush()?;
            }
        }
        player.frame(one_of_several.then_some(&name), &frame)?;
    }
    drop(progress);
    if let Some((frame, damage)) = capture.damage() {
        eprintln!("netmon-agent: {name}: frame {frame}: {damage}");
    }
    for link_type in player.take_unsupported() {
        eprintln!(
            "netmon-agent: {name}: frames of link type {link_type} are counted as lost; \
             `editcap -T ether` changes the type where the frames are Ethernet after all"
        );
    }
    player.lose(capture.losses());
    Ok(Ok(()))
}
