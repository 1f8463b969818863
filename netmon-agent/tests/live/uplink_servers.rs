//! Several servers on one database: one that ends hands its agents over.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netmon_lab::{Child, Signal, server, wait_until};

use crate::{
    bandwidth::peer,
    outages::{balanced, under_traffic},
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A further server on the site's database, which the site's own server runs.
struct Further {
    http: u16,
    quic: u16,
    child: Child,
}

impl Further {
    fn start(site: &Site, number: u16) -> Result<Self> {
        let (http, quic) = (8090 + number, 8190 + number);
        // Servers of one deployment have the authority in common, and each its own certificate.
        let data_dir = site.path(&format!("server-{number}"));
        let pki = data_dir.join("pki");
        if !pki.exists() {
            fs::create_dir_all(&data_dir)?;
            fs::DirBuilder::new().mode(0o700).create(&pki)?;
            for file in ["ca.pem", "ca-key.pem"] {
                fs::copy(site.data_dir().join("pki").join(file), pki.join(file))?;
            }
        }
        let socket = site.data_dir().join("socket");
        let url = format!(
            "postgres://netmon@localhost/netmon?host={}",
            socket.display()
        );
        let mut command = server::serve(&site.namespace, &data_dir)?;
        command
            .args(["--http-listen", &format!("127.0.0.1:{http}")])
            .args(["--quic-listen", &format!("127.0.0.1:{quic}")])
            .args(["--database-url", &url]);
        let log = format!("server-{number}.log");
        site.log_to(&mut command, &log)?;
        let mut child = Child::spawn("netmon-server", command, Signal::SIGTERM)?;
        server::ready(&site.namespace, http, &mut child, PATIENCE)
            .with_context(|| site.log(&log))?;
        Ok(Self { http, quic, child })
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.quic)
    }

    fn has_the_agent(&self, site: &Site) -> Option<()> {
        let agents = site
            .metric(self.http, "netmon_server_agents_connected")
            .ok()?;
        (agents == 1.0).then_some(())
    }

    fn stop(mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)?;
        let status = self.child.wait_for(PATIENCE)?.context("it does not end")?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

#[test]
fn a_server_that_ends_hands_its_agents_over_and_nothing_is_lost() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    let (first, second) = (Further::start(&site, 1)?, Further::start(&site, 2)?);
    site.servers = vec![first.address(), second.address()];
    site.start_agent(&[])?;
    assert!(
        first.has_the_agent(&site).is_some(),
        "the first one is tried first"
    );
    let place = site.namespace.clone();
    let first = under_traffic(&place, &peer, || {
        thread::sleep(Duration::from_secs(2));
        let began = Instant::now();
        first.stop()?;
        wait_until(PATIENCE, "the second server to have the agent", || {
            second.has_the_agent(&site)
        })?;
        println!("handed over within {:?}", began.elapsed());
        thread::sleep(Duration::from_secs(2));

        let first = Further::start(&site, 1)?;
        thread::sleep(Duration::from_secs(1));
        assert!(
            second.has_the_agent(&site).is_some(),
            "it stays where it is"
        );
        second.stop()?;
        wait_until(PATIENCE, "the first server to have the agent again", || {
            first.has_the_agent(&site)
        })?;
        thread::sleep(Duration::from_secs(2));
        Ok(first)
    })?;
    balanced(&mut site)?;
    first.stop()
}
