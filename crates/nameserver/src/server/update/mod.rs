//! Updates (RFC 2136): parsing and resolving. [`super::store`] writes the result.

mod request;
mod resolve;

pub use self::request::{UpdateRequest, read};
pub use self::resolve::{Pending, View, resolve};
