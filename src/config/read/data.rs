//! `[data]` of container.toml: the limit of the container's data.

use super::node::bytes;
use crate::config::{
    document::{Item, Schema, schema::key},
    model::DataLimit,
};

/// The keys of `[data]`.
pub const SCHEMA: Schema = Schema { keys: &[key("size", r#""10g""#)], refused: &[] };

/// A smaller limit is a slip of the pen: a file system uses about this much for an empty database.
const LEAST: u64 = 1 << 20;

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<DataLimit> {
    let table = item.table()?.with(&SCHEMA);
    let size = table.require("size").and_then(|item| bytes(&item, LEAST, "1m"))?;
    Some(DataLimit { size })
}
