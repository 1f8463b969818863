//! NTP on another port than 123: what is configured is looked for, and nothing else.

use std::time::Duration;

use anyhow::Result;
use netmon_lab::{
    DemoNet,
    demo::{DemoOptions, SERVER_SIDE},
    wait_until,
};

use crate::site::{METRICS, Site, open_folder};

const WATCHED: [&str; 4] = ["--exclude", SERVER_SIDE, "--exclude", "lo"];

#[test]
fn ntp_on_another_port_is_paired_and_stored_if_it_is_configured_and_not_otherwise() -> Result<()> {
    let mut site = Site::with_server()?;
    let folder = site.path("demo");
    open_folder(&folder)?;
    let options = DemoOptions {
        port: 1123,
        client_options: "minpoll -1 maxpoll -1 iburst".to_owned(),
        ..DemoOptions::default()
    };
    let demo = DemoNet::start(&site.namespace, &folder, &options)?;

    site.start_agent(&WATCHED)?;
    let before = demo.client().measurements()?.len();
    demo.client()
        .wait_for(before + 4, Duration::from_secs(60))?;
    assert_eq!(site.metric(METRICS, "netmon_agent_ntp_packets_total")?, 0.0);
    site.stop_agent()?;
    assert_eq!(site.sql_numbers("select count(*) from ntp_exchanges")?, [0]);

    let ports = ("NETMON_AGENT__NTP__PORTS", "[123, 1123]");
    site.agent_environment.push(ports);
    site.start_agent(&WATCHED)?;
    let before = demo.client().measurements()?.len();
    demo.client()
        .wait_for(before + 4, Duration::from_secs(60))?;
    wait_until(Duration::from_secs(30), "exchanges on port 1123", || {
        let stored = "select count(*) from ntp_exchanges \
                      where match = 'basic' and server_port = 1123 and client_port <> 1123";
        (site.sql_numbers(stored).ok()?[0] >= 4).then_some(())
    })?;
    site.stop_agent()?;
    let others = "select count(*) from ntp_exchanges where server_port <> 1123";
    assert_eq!(site.sql_numbers(others)?, [0]);
    Ok(())
}
