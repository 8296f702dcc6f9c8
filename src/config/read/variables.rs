//! Variables: a table, or a list of `KEY=value`.

use std::collections::BTreeMap;

use crate::config::{document::item::Item, problem::shown};

/// A table, or a list of `KEY=value`; for `environment` and `build.args`.
pub fn variables(item: &Item<'_>) -> BTreeMap<String, String> {
    if item.is_list() {
        let pair = |text: &str| match text.split_once('=') {
            Some((key, value)) => Ok((variable(key)?, value.to_owned())),
            None => Err(format!("{} has no value: write `KEY=value`, lap reads nothing from your shell", shown(text))),
        };
        return item.each(pair).into_iter().collect();
    }
    let Some(table) = item.table() else { return BTreeMap::new() };
    let entry = |(key, entry): (&str, Item<'_>)| {
        let key = variable(key).map_err(|message| entry.problem(message)).ok();
        let value = entry.scalar();
        key.zip(value)
    };
    table.entries(item.key).filter_map(entry).collect()
}

pub(super) fn variable(key: &str) -> Result<String, String> {
    let good = !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good { Ok(key.to_owned()) } else { Err(format!("{} is not a variable's name: write e.g. `LANG`", shown(key))) }
}
