//! `steeple_scrub::property::text` holds for every input.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| steeple_scrub::property::text(bytes));
