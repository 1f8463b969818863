//! Exchanges folded by client and window: nothing of chrony's is missing in any sum.

use std::{thread, time::Duration};

use anyhow::Result;
use netmon_lab::{
    DemoNet,
    demo::{DemoOptions, SERVER_SIDE},
    wait_until,
};

use crate::{
    ntp::stop_and_read,
    site::{METRICS, Site, open_folder},
};

#[test]
fn folded_exchanges_of_chrony_come_to_as_many_as_it_has_in_its_log() -> Result<()> {
    let mut site = Site::with_server()?;
    site.agent_environment = vec![
        ("NETMON_AGENT__NTP__DETAIL", "folded"),
        ("NETMON_AGENT__NTP__FOLD_WINDOW", "10s"),
    ];
    site.start_agent(&["--exclude", SERVER_SIDE, "--exclude", "lo"])?;
    // From when on it knows that the server takes folds.
    wait_until(Duration::from_secs(10), "the agent to fold", || {
        let folding = site.metric(METRICS, "netmon_agent_ntp_folding").ok()?;
        (folding == 1.0).then_some(())
    })?;
    let folder = site.path("demo");
    open_folder(&folder)?;
    let options = DemoOptions {
        client_options: "minpoll -1 maxpoll -1 iburst".to_owned(),
        ..DemoOptions::default()
    };
    let demo = DemoNet::start(&site.namespace, &folder, &options)?;
    demo.client().wait_for(40, Duration::from_secs(60))?;
    let measurements = stop_and_read(&demo)?.len() as u64;
    thread::sleep(Duration::from_secs(1));
    // What is open is flushed.
    site.stop_agent()?;

    let numbers = |sql: &str| site.sql_numbers(sql);
    let [folds, folded] =
        numbers("select count(*), coalesce(sum(exchanges), 0) from ntp_folds")?[..]
    else {
        anyhow::bail!("two numbers");
    };
    let [whole] = numbers("select count(*) from ntp_exchanges")?[..] else {
        anyhow::bail!("one number");
    };
    println!("{measurements} exchanges: {folds} folds of {folded}, {whole} whole");
    assert_eq!(whole + folded, measurements);
    assert!(
        folds >= 3 && folded > 3 * folds,
        "{folds} folds of {folded}"
    );

    let client = &site.rest("/api/v1/ntp/clients")?["items"][0];
    assert_eq!(client["client"], "198.18.0.2");
    assert_eq!(client["session_count"], measurements);
    assert_eq!(client["answered_count"], measurements);
    let server = &site.rest("/api/v1/ntp/servers")?["items"][0];
    assert_eq!(server["request_count"], measurements);
    let points = site.rest("/api/v1/ntp/statistics")?;
    let points = points["items"].as_array().into_iter().flatten();
    let exchanges = points.map(|point| point["exchanges"].as_u64().unwrap_or(0));
    assert_eq!(exchanges.sum::<u64>(), measurements);
    let listed = site.rest("/api/v1/ntp/exchanges?limit=1000")?;
    assert_eq!(listed["folded"], folds);
    Ok(())
}
