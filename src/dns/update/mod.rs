//! Updates (RFC 2136): read, decide. What they come to is written by [`super::store`].

mod request;
mod resolve;

pub use request::{Request, read};
pub use resolve::{Pending, View, resolve};
