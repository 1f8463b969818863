//! What programs say, kept in files.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

/// How much of a log stands behind a message.
const LAST_LINES: usize = 40;

/// Puts everything that `command` will say at the end of a file: one log for all runs of a program.
///
/// # Errors
/// When the file cannot be written.
pub fn log_to(command: &mut Command, path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

/// The last lines of a log; nothing where there is none.
#[must_use]
pub fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_of_every_run_are_kept_and_the_last_lines_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        assert_eq!(tail(&path), "");
        for number in [1, 2] {
            let mut command = Command::new("sh");
            command.args(["-c", "seq 30; echo \"$0\" >&2", &format!("run {number}")]);
            log_to(&mut command, &path).unwrap();
            assert!(command.status().unwrap().success());
        }
        let tail = tail(&path);
        assert_eq!(tail.lines().count(), LAST_LINES);
        assert!(
            tail.starts_with("23\n") && tail.ends_with("run 2"),
            "{tail}"
        );
        assert!(tail.contains("run 1\n1\n"), "{tail}");
    }
}
