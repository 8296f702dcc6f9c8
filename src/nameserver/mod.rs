//! The name server and its client.
//!
//! - [`server`] answers for `internal.`, takes updates and hands zones on,
//! - [`client`] asks name servers, changes their names and takes over zones,
//! - [`names`], [`keys`] and [`records`] are what both and their users say alike: the files of names and of TSIG keys, and the data of
//!   records as text.

pub mod client;
pub mod keys;
pub mod names;
pub mod records;
pub mod server;
