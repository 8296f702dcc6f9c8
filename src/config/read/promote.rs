//! `[promote]` of `lap.toml`: when a release may stay, and for how long what it leaves does.

use std::time::Duration;

use crate::config::{
    document::{Item, Schema, schema::key},
    model::Promote,
    value::duration::duration,
};

/// The keys of `[promote]`.
pub const SCHEMA: Schema = Schema {
    keys: &[key("settle", r#""10s""#), key("max_outage", r#""5s""#), key("keep", "10"), key("keep_failed", r#""14d""#)],
    refused: &[],
};

/// Longer is a mistake: it is waited for with the way back open.
const LONGEST: Duration = Duration::from_secs(3600);
/// Whoever writes more means all.
const MOST: u64 = 100_000;

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<Promote> {
    let table = item.table()?.with(&SCHEMA);
    let time = |key: &str| {
        table.get(key).and_then(|item| {
            item.parse(|text| match duration(text)? {
                long if long > LONGEST => Err(format!("`{text}` is too long: one hour is the maximum")),
                time => Ok(time),
            })
        })
    };
    let default = Promote::default();
    Some(Promote {
        settle: time("settle").unwrap_or(default.settle),
        max_outage: time("max_outage"),
        keep: table.get("keep").and_then(|item| item.integer(1, MOST)).unwrap_or(default.keep),
        keep_failed: table.get("keep_failed").and_then(|item| item.parse(days)).unwrap_or(default.keep_failed),
    })
}

/// `14d`
fn days(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).filter(|days| *days <= MOST);
    days.map(|days| Duration::from_secs(days * 86_400))
        .ok_or_else(|| format!("`{text}` is not a number of days: write e.g. `14d`"))
}
