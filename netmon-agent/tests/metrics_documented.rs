//! `docs/metrics.md` and the agent's code name the same metrics.

use std::{collections::BTreeSet, fs, time::Duration};

use netmon_agent::{metrics::Metrics, sensor::ProgramTime, system::Collected};
use netmon_common::{
    counters::Split,
    wire::{FileSystem, SystemSample, Temperature},
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

/// Names without prefix in the first column of the tables about the agent.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (_, agent) = text.split_once("\n## Agent\n").unwrap();
    let (agent, _) = agent.split_once("\n## ").unwrap_or((agent, ""));
    let rows = agent.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| {
        let column = row.split(" |").next().unwrap();
        let names = column.split("`, `").map(|name| name.trim_matches('`'));
        names.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

/// Names without prefix of everything the agent ever shows.
fn shown() -> BTreeSet<String> {
    let metrics = Metrics::new();
    // Families whose labels come from the host have no series yet.
    metrics.interface("eth0", Default::default());
    metrics.splits("eth0", &[Split::default(); 2]);
    metrics
        .flows
        .interface("eth0", Default::default(), Default::default());
    metrics.attach_mode("eth0", "tcx");
    metrics.namespaces(&["blue".into()]);
    metrics.programs(&[ProgramTime {
        name: "netmon_ingress".into(),
        id: 1,
        runs: 1,
        time: Duration::from_nanos(1),
    }]);
    metrics.system.update(&Collected {
        sample: SystemSample {
            file_systems: vec![FileSystem::default()],
            temperatures: vec![Temperature::default()],
            ..SystemSample::default()
        },
        missing: vec![],
    });
    let text = metrics.render();
    let types = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE netmon_agent_"));
    types
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_of_the_agent_is_documented_and_every_documented_one_exists() {
    let described = shown();
    let documented = documented();
    let missing: Vec<_> = described.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&described).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in docs/metrics.md: {missing:?}; only there: {invented:?}"
    );
}
