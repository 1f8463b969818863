//! Where addresses are: `[geo]`.

use netmon_geo::Source;

/// Which files say where addresses are, and how Hong Kong, Macao and Taiwan are put.
pub type Geo = netmon_geo::Settings;

/// More sources are a mistake: each is asked for each address that is not known by then.
const MAX_SOURCES: usize = 16;

/// The first key whose value cannot be, and what would be right. Files are looked at later.
pub(super) fn problem(geo: &Geo) -> Option<(&'static str, &'static str)> {
    let relative = |source: &Source| matches!(source, Source::File(path) if path.is_relative());
    if geo.sources.is_empty() || geo.sources.len() > MAX_SOURCES {
        return Some((
            "geo.sources",
            "must name 1 to 16 sources: paths of mmdb or xdb files, or \"embedded\"",
        ));
    }
    if geo.sources.iter().any(relative) {
        return Some((
            "geo.sources",
            "must name files by absolute paths; \"embedded\" stands for the files in the program",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_and_not_too_many() {
        let problem = |sources: &[&str]| {
            let sources = sources.iter().map(|source| source.parse().unwrap());
            let geo = Geo {
                sources: sources.collect(),
                ..Geo::default()
            };
            problem(&geo).map(|(key, _)| key)
        };
        assert_eq!(problem(&["embedded"]), None);
        assert_eq!(problem(&["/srv/geo/city.mmdb", "embedded"]), None);
        assert_eq!(problem(&[]), Some("geo.sources"));
        assert_eq!(problem(&["city.mmdb"]), Some("geo.sources"));
        assert_eq!(problem(&["embedded"; 17]), Some("geo.sources"));
    }
}
