//! Opening captures: files or standard input, gzipped or not.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, IsTerminal as _, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::capture::{Capture, OpenError};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 1 << 18;
/// Smaller files are read before a bar could be looked at.
const LEAST_FOR_A_BAR: u64 = 16 << 20;

/// A capture of any kind.
pub(super) type AnyCapture = Capture<Box<dyn Read>>;

/// How far the reading of a file is.
pub(super) struct Progress {
    read: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
}

/// Opens a file; `-` is standard input.
pub(super) fn open(path: &Path) -> Result<(AnyCapture, Progress), OpenError> {
    let read = Arc::new(AtomicU64::new(0));
    let (raw, bar): (Box<dyn Read>, _) = if path.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)?;
        let bar = bar(path, file.metadata()?.len());
        (Box::new(file), bar)
    };
    let counted = Counted {
        inner: raw,
        read: read.clone(),
    };
    let reader = decompressed(BufReader::with_capacity(BUFFER_BYTES, counted))?;
    let progress = Progress { read, bar };
    Ok((Capture::open(reader)?, progress))
}

fn decompressed(mut raw: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    raw.by_ref().take(2).read_to_end(&mut magic)?;
    let is_gzip = magic == GZIP;
    let whole = Cursor::new(magic).chain(raw);
    Ok(if is_gzip {
        let plain = MultiGzDecoder::new(whole);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, plain))
    } else {
        Box::new(whole)
    })
}

/// For large files, and only where somebody looks.
fn bar(path: &Path, bytes: u64) -> Option<ProgressBar> {
    if bytes < LEAST_FOR_A_BAR || !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(path.display().to_string());
    Some(bar)
}

impl Progress {
    /// Shows how far it is.
    pub(super) fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.read.load(Ordering::Relaxed));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Counts the octets of the file, before decompression.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let octets = self.inner.read(to)?;
        self.read.fetch_add(octets as u64, Ordering::Relaxed);
        Ok(octets)
    }
}
