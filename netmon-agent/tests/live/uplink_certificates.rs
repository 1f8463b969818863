//! Certificates that change while agent and server run.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::{Signal, run, wait_until, workspace_binary};

use crate::{
    bandwidth::peer,
    outages::{balanced, under_traffic},
    site::{HTTP, METRICS, Site},
};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_renewed_certificate_is_taken_up_without_a_gap() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![("NETMON_AGENT__SERVER__CERTIFICATE_CHECK_INTERVAL", "1s")];
    site.start_agent(&[])?;
    let place = site.namespace.clone();
    under_traffic(&place, &peer, || {
        let loads = |result: &str| {
            let series = format!("netmon_agent_certificate_loads_total{{result=\"{result}\"}}");
            site.metric(METRICS, &series)
        };
        let expires = || {
            site.metric(
                METRICS,
                "netmon_agent_certificate_expires_timestamp_seconds",
            )
        };
        let first = expires()?;
        // One that is broken, or half written, changes nothing.
        let path = site.path("identity").join("agent.pem");
        let good = fs::read(&path)?;
        fs::write(&path, &good[..good.len() / 2])?;
        wait_until(SOON, "the broken one to be noticed", || {
            (loads("failed").ok()? == 1.0).then_some(())
        })?;
        assert_eq!(loads("used")?, 0.0);
        fs::write(&path, &good)?;

        let mut renew = Command::new(workspace_binary("netmon-server")?);
        renew.arg("renew-agent").arg(site.path("identity"));
        let id = run(renew.arg("--data-dir").arg(site.data_dir()))?;
        assert_eq!(id.trim(), site.agent_id);
        wait_until(SOON, "the new certificate to be used", || {
            let newer = expires().ok()? > first;
            (newer && loads("used").ok()? >= 1.0).then_some(())
        })?;
        Ok(())
    })?;
    assert_eq!(
        site.metric(METRICS, "netmon_agent_uplink_disconnects_total")?,
        0.0
    );
    assert_eq!(site.metric(METRICS, "netmon_agent_uplink_connected")?, 1.0);
    balanced(&mut site)
}

#[test]
fn a_broken_certificate_of_the_server_changes_nothing_and_a_good_one_is_taken_up() -> Result<()> {
    let mut site = Site::with_server()?;
    let path = site.data_dir().join("pki/server.pem");
    let good = fs::read(&path)?;
    let refreshes = |site: &Site, result: &str| {
        let series = format!("netmon_server_certificate_refreshes_total{{result=\"{result}\"}}");
        site.metric(HTTP, &series)
    };
    for (content, result) in [(b"broken".as_slice(), "failed"), (&good, "loaded")] {
        fs::write(&path, content)?;
        site.server
            .as_mut()
            .context("a server runs")?
            .signal(Signal::SIGHUP)?;
        wait_until(SOON, "SIGHUP to be heeded", || {
            (refreshes(&site, result).ok()? == 1.0).then_some(())
        })?;
    }
    let expires = site.metric(HTTP, "netmon_server_certificate_expires_timestamp_seconds")?;
    assert!(expires > 1.7e9, "{expires}");
    site.start_agent(&[])?;
    thread::sleep(Duration::from_secs(1));
    site.stop_agent()
}
