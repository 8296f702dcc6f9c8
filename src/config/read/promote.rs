//! `[promote]` of `lap.toml`: when a release may stay.

use std::time::Duration;

use crate::config::{
    document::{Item, Schema, schema::key},
    model::Promote,
    value::duration::duration,
};

/// The keys of `[promote]`.
pub const SCHEMA: Schema = Schema { keys: &[key("settle", r#""10s""#), key("max_outage", r#""5s""#)], refused: &[] };

/// Longer is a mistake: it is waited for with the way back open.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<Promote> {
    let table = item.table()?.with(&SCHEMA);
    let time = |key: &str| {
        table.get(key).and_then(|item| {
            item.parse(|text| match duration(text)? {
                long if long > LONGEST => Err(format!("`{text}` is too long: an hour is the most")),
                time => Ok(time),
            })
        })
    };
    let default = Promote::default();
    Some(Promote { settle: time("settle").unwrap_or(default.settle), max_outage: time("max_outage") })
}
