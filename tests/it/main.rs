//! All integration tests are one binary.

mod live;
