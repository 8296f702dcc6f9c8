//! Any message, over UDP and TCP, signed or not: `cargo +nightly fuzz run packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lap_nameserver::server::fuzzing::packet(data));
