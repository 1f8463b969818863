//! The file of a watch set: an address or a prefix a line.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use netmon_common::watch::{List, MAX_ENTRIES, PrefixError};

/// The file cannot be used; none of it is.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the watch list {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is neither empty, nor a comment, nor an address, nor a prefix.
    #[error("{path}, line {line}: {text:?} is {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// Its start.
        text: String,
        /// What is wrong.
        source: PrefixError,
    },
    /// More than the kernel's maps hold.
    #[error("{path} has more than {MAX_ENTRIES} entries")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file. Comments begin with `#`.
///
/// # Errors
/// See [`FileError`]; the first line that is wrong is named.
pub fn read(path: &Path) -> Result<List, FileError> {
    let failed = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let mut set = Vec::new();
    for (index, line) in file.lines().enumerate() {
        let line = line.map_err(failed)?;
        let entry = line.split('#').next().unwrap_or("").trim();
        if entry.is_empty() {
            continue;
        }
        if set.len() >= MAX_ENTRIES as usize {
            let path = path.to_owned();
            return Err(FileError::TooLong { path });
        }
        set.push(entry.parse().map_err(|source| FileError::Line {
            path: path.to_owned(),
            line: index + 1,
            text: entry.chars().take(64).collect(),
            source,
        })?);
    }
    Ok(set.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn comments_empty_lines_and_doubles_are_left_out() {
        let file = file("# botnet\n\n192.0.2.1 # one\n  2001:db8::/32\n192.0.2.1\n");
        let set = read(file.path()).unwrap();
        let texts = ["192.0.2.1", "2001:db8::/32"];
        let expected = texts.iter().map(|text| text.parse().unwrap());
        assert_eq!(set, expected.collect());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let file = file("192.0.2.1\n# fine\n192.0.2.300\n");
        let error = read(file.path()).unwrap_err().to_string();
        assert!(
            error.ends_with(", line 3: \"192.0.2.300\" is not an IPv4 or IPv6 address"),
            "{error}"
        );
    }
}
