//! The kernel programs as the configuration wants them.

use glob::PatternError;

use crate::{
    config::Config,
    sensor::{FlowSizes, Hooks, LoadError, Pins, Sensor},
};

/// Size of the kernel's ring of new flows: 14,000 of them between two looks into it.
const FLOW_RING_BYTES: u32 = 1 << 20;

/// Programs and maps for one network namespace, on the maps of an earlier agent with `pins`.
pub fn classifiers(config: &Config, pins: Option<Pins>) -> Result<Sensor, LoadError> {
    let sensor = &config.sensor;
    let flows = config.flows.enabled.then_some(FlowSizes {
        max_entries: config.flows.max_entries,
        ring_bytes: FLOW_RING_BYTES,
    });
    let mut loaded = Sensor::load_with_flows(sensor.ring_bytes, sensor.log, pins, flows)?;
    loaded.set_ntp_ports(&config.ntp.ports)?;
    Ok(loaded)
}

/// Where they go.
pub fn hooks(config: &Config) -> Result<Hooks, PatternError> {
    let sensor = &config.sensor;
    Hooks::new(
        sensor.hook,
        sensor.filter_priority,
        &sensor.xdp,
        sensor.xdp_generic,
    )
}

/// Cleans up after killed agents, so that nothing of theirs counts into maps that are used again.
pub fn sweep() {
    if let Err(error) = Sensor::sweep() {
        tracing::warn!(%error, "leftover filters of killed agents were not looked for");
    }
}
