//! `netmon-agent doctor` on a host where all is well, and on one where it is not.

use anyhow::Result;

use crate::{
    bandwidth::peer,
    site::{Site, has_tcx},
};

#[test]
fn doctor_finds_a_healthy_host_healthy() -> Result<()> {
    let site = Site::with_server()?;
    let _peer = peer(&site)?;
    // A server that has just begun makes its tables and partitions; emulated, that may take it longer
    // than doctor waits.
    let mut attempts = 0;
    let (output, text) = loop {
        let output = site.agent_command("doctor", &[])?.output()?;
        let text = String::from_utf8(output.stdout.clone())?;
        attempts += 1;
        if attempts == 3 || !text.contains("no answer within") {
            break (output, text);
        }
    };
    assert!(output.status.success(), "{text}");
    for subject in [
        "kernel",
        "capabilities",
        "programs",
        "interfaces",
        "identity",
        "server",
    ] {
        assert!(
            text.contains(&format!("ok      {subject}: ")),
            "{subject} in:\n{text}"
        );
    }
    let hook = if has_tcx("doctor says that the kernel has TCX")? {
        "ok      hook: TCX"
    } else {
        "notice  hook: classic filters"
    };
    assert!(text.contains(hook), "{hook} in:\n{text}");
    Ok(())
}

#[test]
fn doctor_names_what_is_wrong_with_its_remedy() -> Result<()> {
    let mut site = Site::with_server()?;
    drop(site.server.take());
    let output = site.agent_command("doctor", &[])?.output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("FAIL    interfaces: none of"), "{text}");
    assert!(text.contains("FAIL    server: 127.0.0.1:8082"), "{text}");
    Ok(())
}
