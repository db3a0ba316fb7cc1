//! `steeple_scrub::property::json` holds for every input.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| steeple_scrub::property::json(bytes));
