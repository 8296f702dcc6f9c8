//! `[copies]` of `lap.toml`: what `lap snapshot copy --due` does, and what `lap status` expects.

use lap_repositories::{Depth, policy::CopyPolicy};

use super::snapshot;
use crate::config::{
    document::{Item, Schema, schema::key},
    value::duration::period,
};

/// The keys of `[copies]`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("every", r#""1d""#),
        key("verify", r#""7d""#),
        key("read", r#""10%""#),
        key("keep", "{ daily = 7, weekly = 5 }"),
    ],
    refused: &[],
};

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<CopyPolicy> {
    let table = item.table()?.with(&SCHEMA);
    let time = |key: &str| table.get(key).and_then(|item| item.parse(period));
    let read = table.get("read");
    if let (Some(read), None) = (&read, table.get("verify")) {
        read.problem("sets how much a verification reads: write `verify`, too, e.g. `verify = \"7d\"`");
    }
    Some(CopyPolicy {
        every: time("every"),
        verify: time("verify"),
        depth: read.and_then(|item| item.parse(str::parse)).unwrap_or(Depth::Structure),
        keep: table.get("keep").and_then(|item| snapshot::keep(&item)),
    })
}
