//! `demo-net`: NTP traffic to look at, until Ctrl-C.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use netmon_lab::{
    DemoNet, Namespace,
    demo::{CLIENT_SIDE, DemoOptions, SERVER_SIDE},
};

use crate::{
    run_directory::RunDirectory,
    setup::{self, needs},
    signals,
    workspace::{require_root, state_directory},
};

/// Runs the command.
///
/// # Errors
/// Without root, or when the network cannot be built.
pub fn run() -> Result<ExitCode> {
    require_root("demo-net", "it makes network namespaces")?;
    setup::ensure(&[needs::DEMO])?;
    let directory = RunDirectory::claim("demo-net", state_directory("demo"))?;
    signals::catch()?;
    let options = DemoOptions::default();
    let demo = DemoNet::start(&Namespace::host()?, directory.path(), &options)?;
    println!(
        "chrony (client, 198.18.0.2) asks chrony (server, 198.18.0.1) once a second; {:?} there, \
         {:?} back",
        options.to_server, options.to_client
    );
    println!("look at the packets:   tcpdump -ni {CLIENT_SIDE} udp port 123");
    println!("the server's cable:    {SERVER_SIDE}");
    println!(
        "chrony's measurements: tail -f {}/chrony-client/measurements.log",
        directory.path().display()
    );
    println!("Ctrl-C ends it");
    let mut told = Instant::now();
    while !signals::stop_requested() {
        thread::sleep(Duration::from_millis(100));
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            let (requests, responses) = demo.relay().carried();
            println!(
                "{} frames to the server, {} back, {} lost",
                requests.frames,
                responses.frames,
                requests.dropped + responses.dropped
            );
        }
    }
    drop(demo);
    directory.close()?;
    println!("the demonstration network is gone");
    Ok(ExitCode::SUCCESS)
}
