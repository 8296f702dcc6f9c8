//! All integration tests are one binary.

#![expect(clippy::print_stderr, reason = "a live test that failed shows its nodes' logs")]

mod live;
