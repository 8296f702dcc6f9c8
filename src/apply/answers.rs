//! An answer of the agent that does not belong to the request.

use lap_base::error::{Error, Kind};

use crate::wire::protocol::answer::Answer;

pub(super) fn unexpected(answer: &Answer) -> Error {
    Error::new(Kind::Node, format!("the agent sent an unexpected answer: {answer:?}"))
}
