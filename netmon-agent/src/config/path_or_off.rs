//! A path, or the empty string for none.

use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Deserializer, Serializer, ser::Error as _};

pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_deref().unwrap_or(Path::new("")).to_str();
    serializer.serialize_str(text.ok_or_else(|| S::Error::custom("a path must be UTF-8"))?)
}

pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()))
}
