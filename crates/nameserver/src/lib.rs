//! A dynamic DNS server for the names of a small network, and a client.
//!
//! - [`server`] answers for its zones, accepts updates (RFC 2136) and transfers zones to secondaries (RFC 5936, RFC
//!   1995),
//! - [`client`] queries name servers, updates their names and transfers their zones, signed with TSIG (RFC 8945),
//! - [`names`], [`keys`] and [`records`] define what both use: the files of names and of keys, and the text form of
//!   record data.
//!
//! This example runs the server on a free port and sends one query:
//!
//! ```
//! use std::{fs, time::Duration};
//!
//! use lap_nameserver::{client::query::query, names::Names, server::{Server, ServeOptions}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let names = Names {
//!     zone: "office.".into(),
//!     server: "ns.office.".into(),
//!     hosts: vec![("git.office.".into(), [10, 0, 0, 7].into())],
//!     ..Names::default()
//! };
//! fs::write(directory.path().join("names.json"), serde_json::to_vec(&names)?)?;
//! let options = ServeOptions {
//!     listen: vec!["127.0.0.1:0".parse()?],
//!     names_dir: directory.path().into(),
//!     ..ServeOptions::default()
//! };
//! let server = Server::bind(&options).await?;
//! let address = server.addresses()[0];
//! let running = tokio::spawn(server.run(std::future::pending()));
//! let answer = query(address, "git.office.", "A", Duration::from_secs(5)).await?;
//! assert!(answer.found());
//! running.abort();
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
extern crate self as lap_nameserver;

pub mod client;
pub mod keys;
pub mod names;
pub mod records;
pub mod server;
