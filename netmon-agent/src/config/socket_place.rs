//! Where the status socket is: with the spool, at a path, or nowhere.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};

/// The word for a socket in the directory of the spool.
const WITH_SPOOL: &str = "spool";

/// The socket's name there.
const NAME: &str = "status.sock";

/// Where `netmon-agent status` finds the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// In `spool.directory`, which one agent at a time has; none without a directory.
    WithSpool,
    /// A path of its own.
    At(PathBuf),
    /// No socket.
    Off,
}

impl SocketPlace {
    /// The path, if there is to be a socket.
    pub fn path(&self, spool: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::WithSpool => spool.map(|directory| directory.join(NAME)),
            Self::At(path) => Some(path.clone()),
            Self::Off => None,
        }
    }
}

impl Serialize for SocketPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = match self {
            Self::WithSpool => Path::new(WITH_SPOOL),
            Self::At(path) => path,
            Self::Off => Path::new(""),
        };
        let text = path.to_str();
        serializer.serialize_str(text.ok_or_else(|| S::Error::custom("a path must be UTF-8"))?)
    }
}

impl<'de> Deserialize<'de> for SocketPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "" => Self::Off,
            WITH_SPOOL => Self::WithSpool,
            path => Self::At(path.into()),
        })
    }
}
