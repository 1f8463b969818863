//! Any octets as a capture: it is read to its end, and every record can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon_agent::replay::{Format, userspace};

fuzz_target!(|octets: &[u8]| {
    let _ = userspace(octets, Format::Ndjson, std::io::sink());
});
