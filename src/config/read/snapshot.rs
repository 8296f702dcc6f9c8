//! `[snapshot]` of `lap.toml`: what the nodes' agents take and keep by themselves.

use lap_snapshots::keep::{Keep, SnapshotPolicy};

use crate::config::{
    document::{Item, Schema, schema::key},
    value::duration::duration,
};

/// The keys of `[snapshot]`.
pub const SCHEMA: Schema =
    Schema { keys: &[key("every", r#""1h""#), key("keep", "{ hourly = 24, daily = 7 }")], refused: &[] };

/// The keys of `keep`.
pub const KEEP: Schema = Schema {
    keys: &[key("last", "3"), key("hourly", "24"), key("daily", "7"), key("weekly", "5"), key("monthly", "12")],
    refused: &[],
};

/// More than ten years of hours: whoever writes more means "all", and leaves `keep` out.
const MOST: u64 = 100_000;

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<SnapshotPolicy> {
    let table = item.table()?.with(&SCHEMA);
    let every = table.get("every").and_then(|item| {
        item.parse(|text| match duration(text)?.as_secs() {
            0..60 => Err(format!("`{text}` is too short: one minute is the minimum")),
            seconds => Ok(seconds),
        })
    });
    Some(SnapshotPolicy { every, keep: table.get("keep").and_then(|item| keep(&item)) })
}

/// `keep`, of snapshots or of copies.
pub fn keep(item: &Item<'_>) -> Option<Keep> {
    let table = item.table()?.with(&KEEP);
    let count = |key: &str| table.get(key).and_then(|item| item.integer(0, MOST)).unwrap_or(0) as u32;
    let [last, hourly, daily, weekly, monthly] = ["last", "hourly", "daily", "weekly", "monthly"].map(count);
    Some(Keep { last, hourly, daily, weekly, monthly })
}
