//! Puts the configuration together: defaults, then the file, then the environment, then flags.

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Map},
};
use serde::Serialize;

use super::{Config, ConfigError};

/// What every environment variable starts with; `__` separates the parts of a key, as in
/// `NETMON_SERVER__HTTP__LISTEN`.
pub const ENV_PREFIX: &str = "NETMON_SERVER__";

const COMMAND_LINE: &str = "command line";

/// Values given as flags; they win over the environment and the file.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
pub struct Overrides {
    /// Directory of the certificates and the managed database
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,

    /// Address and port of the REST interface
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(rename = "http.listen", skip_serializing_if = "Option::is_none")]
    pub http_listen: Option<SocketAddr>,

    /// Address and UDP port where agents connect
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(rename = "quic.listen", skip_serializing_if = "Option::is_none")]
    pub quic_listen: Option<SocketAddr>,

    /// An external PostgreSQL instead of the managed one; every user of this machine can read a
    /// flag, so put a URL with a password into the environment or the file
    #[arg(long, value_name = "URL")]
    #[serde(rename = "database.url", skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
}

impl Provider for Overrides {
    fn metadata(&self) -> Metadata {
        Metadata::named(COMMAND_LINE)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let flat: Dict = figment::value::Value::serialize(self)?
            .into_dict()
            .unwrap_or_default();
        let nested = flat
            .into_iter()
            .map(|(key, value)| figment::util::nest(&key, value));
        let figment = nested.fold(Figment::new(), |all, value| {
            all.merge(Serialized::defaults(value.into_dict().unwrap_or_default()))
        });
        figment.data()
    }
}

/// Reads `file` (if there is one), the environment and `overrides`, and checks every value.
///
/// Fails with an error that names key and source when a key is unknown or a value unusable.
pub fn load(file: Option<PathBuf>, overrides: Overrides) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        // figment takes a missing file for an empty one.
        if let Err(source) = std::fs::read_to_string(&path) {
            return Err(ConfigError::Read { path, source });
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    let figment = figment
        .merge(Env::prefixed(ENV_PREFIX).split("__"))
        .merge(overrides);
    let mut config: Config = figment
        .extract()
        .map_err(|error| ConfigError::Refused(explain(&error)))?;
    config.validate()?;
    if let Ok(path) = std::path::absolute(&config.data_dir) {
        config.data_dir = path;
    }
    Ok(config)
}

/// Every problem in one line: what, which key, where it was set.
fn explain(error: &figment::Error) -> String {
    let each = error.clone().into_iter().map(|error| {
        let what = match &error.kind {
            Kind::UnknownField(name, known) => {
                format!("unknown key {name:?}, known are {}", known.join(", "))
            }
            kind => without_excerpt(&kind.to_string()),
        };
        let mut path = error.path.clone();
        if let Kind::UnknownField(name, _) = &error.kind
            && path.last() != Some(name)
        {
            path.push(name.clone());
        }
        match path.is_empty() {
            true => format!("{what} ({})", source_of(&error, &path)),
            false => format!(
                "{what} (key {}, {})",
                path.join("."),
                source_of(&error, &path)
            ),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

/// A message about broken TOML quotes the line it stumbled over, and with it perhaps a password.
fn without_excerpt(message: &str) -> String {
    let lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.contains('|'));
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}

fn source_of(error: &figment::Error, path: &[String]) -> String {
    let Some(metadata) = &error.metadata else {
        return "no source known".to_owned();
    };
    match metadata
        .source
        .as_ref()
        .and_then(|source| source.file_path())
    {
        Some(file) => format!("file {}", file.display()),
        None if metadata.name == COMMAND_LINE => format!("from the {COMMAND_LINE}"),
        None => format!(
            "environment variable {ENV_PREFIX}{}",
            path.join("__").to_uppercase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(Some(file.path().to_owned()), Overrides::default())
    }

    #[test]
    fn nothing_configured_gives_the_defaults() {
        assert_eq!(load(None, Overrides::default()).unwrap(), Config::default());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "data_dir = \"/a\"\nhttp.listen = \"127.0.0.1:1\"",
        )
        .unwrap();
        let flags = Overrides {
            http_listen: Some("127.0.0.1:2".parse().unwrap()),
            quic_listen: Some("127.0.0.1:3".parse().unwrap()),
            ..Default::default()
        };
        let config = load(Some(file.path().to_owned()), flags).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/a"));
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.quic.listen.port(), 3);
    }

    #[test]
    fn a_refused_file_names_key_and_source() {
        for (text, key) in [
            ("colour = 1", "key colour, file "),
            ("[http]\nlisen = \"127.0.0.1:1\"", "key http.lisen, file "),
            ("[http]\nlisten = 5", "key http.listen, file "),
            ("[retention]\nraw = \"a while\"", "key retention.raw, file "),
            ("[log]\nformat = \"xml\"", "key log.format, file "),
            ("[http", ".toml"),
        ] {
            let message = toml(text).unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn broken_toml_is_located_without_quoting_it() {
        let message = toml("[database]\nurl = \"postgres://u:hunter2@h/d")
            .unwrap_err()
            .to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Some("/nonexistent/a.toml".into()), Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a.toml"), "{error}");
    }

    #[test]
    fn the_dump_reads_back_as_the_same_configuration() {
        let config = toml("[retention]\nraw = \"36h\"\n[log]\nformat = \"json\"").unwrap();
        assert_eq!(toml(&config.to_toml().unwrap()).unwrap(), config);
    }
}
