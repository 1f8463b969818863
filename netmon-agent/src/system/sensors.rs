//! Temperatures from `/sys/class/hwmon` and `/sys/class/thermal`.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use netmon_common::wire::system_limits::NAME_BYTES;

/// Files looked at in one round: a broken driver must not make the rounds endless.
const MAX_FILES: usize = 1024;

/// Sensor and millidegrees, by sensor. A sensor that gives no number is left out: many give none
/// while their device sleeps.
pub(super) fn temperatures(sys: &Path) -> io::Result<Vec<(String, i32)>> {
    let mut found = BTreeMap::new();
    let mut drivers = HashSet::new();
    for chip in children(&sys.join("class/hwmon"))? {
        let driver = text(&chip.join("name")).unwrap_or_else(|| "hwmon".to_owned());
        // Old drivers have their files one level below.
        for folder in [chip.clone(), chip.join("device")] {
            let inputs = children(&folder)?.into_iter().filter_map(|path| {
                let name = path.file_name()?.to_str()?;
                let stem = name.strip_suffix("_input")?.to_owned();
                stem.starts_with("temp").then_some((stem, path))
            });
            for (stem, path) in inputs.collect::<Vec<_>>() {
                let label = text(&folder.join(format!("{stem}_label")));
                let label = label.unwrap_or_else(|| stem.clone());
                if let Some(value) = text(&path).and_then(|text| text.parse().ok()) {
                    insert(&mut found, format!("{driver}/{label}"), value);
                }
            }
        }
        drivers.insert(driver);
    }
    for zone in children(&sys.join("class/thermal"))? {
        let value = text(&zone.join("temp")).and_then(|text| text.parse().ok());
        let (Some(kind), Some(value)) = (text(&zone.join("type")), value) else {
            continue;
        };
        // Most zones are there as a driver as well, under the same name.
        if !drivers.contains(&kind.replace('-', "_")) {
            insert(&mut found, format!("thermal/{kind}"), value);
        }
    }
    Ok(found.into_iter().collect())
}

/// Two devices of one driver have the same labels: the second is "… #2".
fn insert(found: &mut BTreeMap<String, i32>, sensor: String, value: i32) {
    let sensor: String = sensor.chars().filter(|c| !c.is_control()).collect();
    // Room for a number.
    let end = sensor.floor_char_boundary(NAME_BYTES - 8);
    let sensor = &sensor[..end];
    let name = (1..MAX_FILES)
        .map(|n| match n {
            1 => sensor.to_owned(),
            n => format!("{sensor} #{n}"),
        })
        .find(|name| !found.contains_key(name));
    found.extend(name.map(|name| (name, value)));
}

/// What a folder holds, in the order of names; nothing if there is no such folder.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<_> = entries
        .take(MAX_FILES)
        .flatten()
        .map(|e| e.path())
        .collect();
    paths.sort();
    Ok(paths)
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join("class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn sensors_have_the_names_their_drivers_give() {
        let sys = sys(&[
            ("hwmon/hwmon0/name", "coretemp\n"),
            ("hwmon/hwmon0/temp1_input", "45000\n"),
            ("hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("hwmon/hwmon0/temp2_input", "-5\n"),
            ("hwmon/hwmon0/fan1_input", "900\n"),
            ("hwmon/hwmon1/name", "nvme\n"),
            ("hwmon/hwmon1/temp1_input", "30000\n"),
            ("hwmon/hwmon2/name", "nvme\n"),
            ("hwmon/hwmon2/temp1_input", "31000\n"),
            ("hwmon/hwmon2/temp2_input", "asleep\n"),
            ("hwmon/hwmon3/name", "acpitz\n"),
            ("hwmon/hwmon3/temp1_input", "20000\n"),
            ("thermal/thermal_zone0/type", "acpitz\n"),
            ("thermal/thermal_zone0/temp", "20000\n"),
            ("thermal/thermal_zone1/type", "cpu-thermal\n"),
            ("thermal/thermal_zone1/temp", "50123\n"),
            ("thermal/cooling_device0/type", "Fan\n"),
        ]);
        let found = temperatures(sys.path()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(
            found,
            [
                ("acpitz/temp1", 20_000),
                ("coretemp/Package id 0", 45_000),
                ("coretemp/temp2", -5),
                ("nvme/temp1", 30_000),
                ("nvme/temp1 #2", 31_000),
                ("thermal/cpu-thermal", 50_123),
            ]
        );
    }

    #[test]
    fn a_host_without_sensors_has_no_temperatures() {
        assert_eq!(temperatures(&sys(&[]).path().join("none")).unwrap(), []);
    }
}
