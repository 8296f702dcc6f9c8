//! `[checks]` of container.toml: how the scripts in a container's `checks/` are run.

use crate::config::{
    document::{Item, Schema, schema::key},
    model::Checks,
    value::duration::duration,
};

/// The keys of `[checks]`.
pub const SCHEMA: Schema = Schema { keys: &[key("image", r#""base""#), key("timeout", r#""60s""#)], refused: &[] };

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<Checks> {
    let table = item.table()?.with(&SCHEMA);
    let default = Checks::default();
    Some(Checks {
        image: table.get("image").and_then(|item| item.string()).map(str::to_owned),
        timeout: table.get("timeout").and_then(|item| item.parse(duration)).unwrap_or(default.timeout),
    })
}
