//! Builds what is pushed to the lab's own repository: a queue of one, in which the newest commit wins. The building itself is done by
//! a child ([`crate::apply::push`]), so that it holds the node's lock like anybody else; whoever pushed is shown what it prints, and
//! need not stay.

mod job;
mod output;
mod queue;
mod record;
mod socket;
mod start;

pub use record::read;
pub use start::start;
