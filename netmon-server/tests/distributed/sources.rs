//! All SQL of the crate.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    literals::literals,
    tokens::{Located, located},
};

/// A text with the file it stands in, relative to the crate.
pub type Source = (String, Located);

/// Every .sql file of the crate's migrations and sources, and every string literal of the latter.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["migrations", "src"] {
        collect(&root.join(directory), &mut files);
    }
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(root).expect("it lies in the crate");
            texts(name.to_str().unwrap(), &fs::read_to_string(file).unwrap())
        })
        .collect()
}

/// The texts of a file by its name's end.
pub fn texts(name: &str, content: &str) -> Vec<Source> {
    let texts = match name.rsplit_once('.') {
        Some((_, "sql")) => vec![located(content)],
        Some((_, "rs")) => literals(content),
        _ => Vec::new(),
    };
    texts
        .into_iter()
        .map(|text| (name.to_owned(), text))
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
