//! The process that cleans up after a run that was killed. It lives in a session of its own, so
//! that no Ctrl-C reaches it, and waits for the run's end of a pipe to close.

use std::{
    io::{self, BufRead as _, Write as _},
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;

use super::{clean, is_kept};

/// What the guard is told at its start.
#[derive(clap::Args)]
pub struct Options {
    /// The directory of the run.
    #[arg(long)]
    directory: PathBuf,
    /// What its processes carry.
    #[arg(long)]
    mark: String,
}

/// Waits for the end of the run and cleans up unless the run did.
///
/// # Errors
/// When the directory cannot be removed.
pub fn run(options: &Options) -> Result<ExitCode> {
    let terminal = Terminal::remember();
    let mut shows_view = false;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.as_str() {
            "view" => shows_view = true,
            "done" => return Ok(ExitCode::SUCCESS),
            _ => {}
        }
    }
    if let Some(terminal) = terminal.filter(|_| shows_view) {
        terminal.restore();
    }
    clean(
        &options.directory,
        &options.mark,
        is_kept(&options.directory),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The terminal as it was before the live view.
struct Terminal {
    settings: libc::termios,
}

impl Terminal {
    fn remember() -> Option<Self> {
        let mut settings = MaybeUninit::uninit();
        // SAFETY: tcgetattr fills the structure when it succeeds.
        unsafe {
            (libc::tcgetattr(io::stderr().as_raw_fd(), settings.as_mut_ptr()) == 0).then(|| Self {
                settings: settings.assume_init(),
            })
        }
    }

    fn restore(&self) {
        // Leave the alternate screen, show the cursor, end colours.
        let _ = io::stderr().write_all(b"\x1b[?1049l\x1b[?25h\x1b[0m");
        // SAFETY: the settings were read from the same terminal.
        unsafe {
            libc::tcsetattr(io::stderr().as_raw_fd(), libc::TCSANOW, &self.settings);
        }
    }
}
