//! The ring buffer's records: any octets are an event that can be read, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon_common::event::NtpEvent;
use zerocopy::IntoBytes as _;

fuzz_target!(|record: &[u8]| {
    let Some(event) = NtpEvent::parse(record) else {
        return;
    };
    assert_eq!(event.as_bytes(), record);
    assert!(event.payload().len() <= usize::from(event.payload_length));
    assert_eq!(event.source().is_ipv4(), event.ip_version == 4);
    let _ = (event.destination(), event.direction());
});
