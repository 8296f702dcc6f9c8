//! The floor: what every other part of lap may use, and what uses none of them.

pub mod label;
pub mod nameservers;
pub mod secret;
pub mod upstreams;
