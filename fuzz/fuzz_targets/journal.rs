//! Any journal: `cargo +nightly fuzz run journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let directory = tempfile::tempdir().expect("a temporary directory");
    lap_nameserver::server::fuzzing::journal(directory.path(), data);
});
