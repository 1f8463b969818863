//! Batches delivered twice and out of order.

use anyhow::Result;
use rand::rngs::StdRng;

use super::site::Site;

pub fn send(_site: &Site, _random: &mut StdRng) -> Result<()> {
    Ok(())
}
