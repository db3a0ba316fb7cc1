//! `steeple_scrub::property::field` holds for every name and value.
#![no_main]

libfuzzer_sys::fuzz_target!(|pair: (&[u8], &[u8])| steeple_scrub::property::field(pair.0, pair.1));
