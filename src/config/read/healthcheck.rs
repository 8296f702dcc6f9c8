//! `healthcheck`, as in the Compose specification.

use std::time::Duration;

use crate::config::{
    document::{Item, Schema, schema::key},
    model::Healthcheck,
    value::duration::duration,
};

/// The keys of `healthcheck`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("test", r#"["CMD-SHELL", "curl -fs http://localhost/ >/dev/null"]"#),
        key("interval", r#""10s""#),
        key("timeout", r#""5s""#),
        key("retries", "3"),
        key("start_period", r#""30s""#),
    ],
    refused: &[
        ("disable", "not supported: remove `healthcheck`"),
        ("start_interval", "needs a newer Docker Engine than Debian's: remove it"),
    ],
};

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<Healthcheck> {
    let table = item.table()?.with(&SCHEMA);
    let time = |name: &str, default: u64| {
        let item = table.get(name);
        let value = item.as_ref().and_then(|item| item.parse(duration));
        if let (Some(item), Some(value)) = (&item, value)
            && value < Duration::from_millis(1)
            && name != "start_period"
        {
            item.problem(format!("too short: write `1ms` or more, e.g. `{}`", item.key.example.trim_matches('"')));
        }
        value.unwrap_or(Duration::from_secs(default))
    };
    let out = Healthcheck {
        test: table.require("test").map(|item| test(&item)).unwrap_or_default(),
        interval: time("interval", 10),
        timeout: time("timeout", 5),
        retries: table.get("retries").and_then(|item| item.integer(1, 1000)).map_or(3, |n| n as u32),
        start_period: time("start_period", 30),
    };
    Some(out)
}

fn test(item: &Item<'_>) -> Vec<String> {
    let words = item.strings();
    let example = "write `[\"CMD\", \"program\", \"argument\"]` or `[\"CMD-SHELL\", \"a line for the shell\"]`";
    if !item.is_list() {
        return words;
    }
    match words.first().map(String::as_str) {
        Some("CMD") if words.len() > 1 => {}
        Some("CMD-SHELL") if words.len() == 2 => {}
        Some("CMD") => item.problem(format!("names no program: {example}")),
        Some("CMD-SHELL") => item.problem(format!("`CMD-SHELL` needs exactly one line: {example}")),
        _ => item.problem(format!("begins with neither `CMD` nor `CMD-SHELL`: {example}")),
    }
    words
}
