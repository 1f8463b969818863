//! Any packets at any times: nothing panics, every table keeps its bound, each packet is in one row or
//! counted, and an answer is paired once at most.
#![no_main]

#[path = "../../tests/replay/pairing/books.rs"]
mod books;
#[path = "../../tests/replay/pairing/sequence.rs"]
mod sequence;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    books::check(octets);
});
