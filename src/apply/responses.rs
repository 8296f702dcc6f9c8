//! An answer of the agent that does not belong to the request.

use lap_base::error::{Error, Kind};

use crate::wire::protocol::response::Response;

pub(super) fn unexpected(answer: &Response) -> Error {
    Error::new(Kind::Node, format!("the agent sent an unexpected answer: {answer:?}"))
}
