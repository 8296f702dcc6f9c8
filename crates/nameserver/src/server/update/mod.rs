//! Updates (RFC 2136): read, decide. What they come to is written by [`super::store`].

mod request;
mod resolve;

pub use self::request::{UpdateRequest, read};
pub use self::resolve::{Pending, View, resolve};
