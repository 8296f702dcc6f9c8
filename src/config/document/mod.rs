//! TOML with places: a document is walked by hand, so that every problem has a key and a line.

pub mod item;

pub mod schema;
pub mod table;

pub use item::Item;
pub use schema::Schema;
pub use table::{Table, open};
