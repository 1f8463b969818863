//! Flows wherever the programs hang: the two directions of a flow meet.

use anyhow::Result;

use crate::{
    bandwidth::exchange_traffic,
    flows::{OF_EXCHANGE, balanced, born, site_with, sum},
    hooks::{HOOK, counts, mode_is, ours},
    hooks_xdp::{XDP, with_headers},
    site::{METRICS, has_tcx},
};

#[test]
fn flows_are_all_packets_where_ingress_is_xdp_and_egress_tcx() -> Result<()> {
    by_xdp("tcx", 0)
}

#[test]
fn flows_are_all_packets_where_ingress_is_xdp_and_egress_a_classic_filter() -> Result<()> {
    by_xdp("clsact", 1)
}

fn by_xdp(hook: &'static str, filters: usize) -> Result<()> {
    if hook == "tcx" && !has_tcx("flows with egress by TCX")? {
        return Ok(());
    }
    let (mut site, peer) = site_with(&[(HOOK, hook), (XDP, "[\"nm-*\"]")])?;
    site.start_agent(&[])?;
    mode_is(&site, "xdp_native")?;
    assert_eq!(ours(&site)?.len(), filters);
    exchange_traffic(&site.namespace, &peer)?;
    counts(&site, METRICS, || with_headers(&site))?;
    born(&site, OF_EXCHANGE)?;
    balanced(&site, 2000)?;
    for cause in ["map_full", "unparsed"] {
        assert_eq!(sum(&site, "flow_untracked_packets_total", cause)?, 0);
    }
    assert_eq!(sum(&site, "flows_born_total", "")?, OF_EXCHANGE);
    site.stop_agent()
}

#[test]
fn flows_are_all_packets_at_classic_filters() -> Result<()> {
    let (mut site, peer) = site_with(&[(HOOK, "clsact")])?;
    site.start_agent(&[])?;
    mode_is(&site, "clsact")?;
    exchange_traffic(&site.namespace, &peer)?;
    born(&site, OF_EXCHANGE)?;
    balanced(&site, 2000)?;
    assert_eq!(sum(&site, "flows_born_total", "")?, OF_EXCHANGE);
    site.stop_agent()
}
