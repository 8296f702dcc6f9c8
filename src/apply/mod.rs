//! The only place that changes the world: carries a plan out.

pub mod build;
pub mod host;
pub mod install;
pub mod node;
pub mod run;
pub mod schedule;
pub mod up;

pub use schedule::{Perform, Report, carry_out};
