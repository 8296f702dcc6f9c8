//! From a key's path to its line.

use std::{borrow::Cow, collections::HashMap};

use toml::de::{DeTable, DeValue};

/// The path of `key` inside the table at `parent`: `build` + `args` = `build.args`; keys that need quotes get them.
pub fn child(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let key = if bare { Cow::Borrowed(key) } else { Cow::Owned(format!("\"{}\"", key.escape_debug())) };
    if parent.is_empty() { key.into_owned() } else { format!("{parent}.{key}") }
}

/// The path of the `index`th element of the list at `parent`.
pub fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The line of each key's path in a document (as far as it can be read).
pub fn of_keys(text: &str) -> HashMap<String, usize> {
    let starts = starts(text);
    let mut out = HashMap::new();
    let (document, _) = DeTable::parse_recoverable(text);
    table(document.get_ref(), "", &starts, &mut out);
    out
}

/// The line of `path`, or of the nearest table or list around it, or 1: a missing key has no line of its own.
pub fn nearest(map: &HashMap<String, usize>, path: &str) -> usize {
    let mut path = path;
    loop {
        if let Some(line) = map.get(path) {
            return *line;
        }
        match path.rfind(['.', '[']) {
            Some(end) => path = &path[..end],
            None => return 1,
        }
    }
}

/// The offsets at which lines begin.
pub fn starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1)).collect()
}

/// The line (from 1) of a byte offset.
pub fn line(starts: &[usize], offset: usize) -> usize {
    starts.partition_point(|start| *start <= offset)
}

fn table(table_: &DeTable<'_>, path: &str, starts: &[usize], out: &mut HashMap<String, usize>) {
    for (key, value) in table_ {
        let path = child(path, key.get_ref());
        out.insert(path.clone(), line(starts, key.span().start));
        inside(value.get_ref(), &path, starts, out);
    }
}

/// The parser limits how deep values nest, so recursion is safe.
fn inside(value: &DeValue<'_>, path: &str, starts: &[usize], out: &mut HashMap<String, usize>) {
    match value {
        DeValue::Table(inner) => table(inner, path, starts, out),
        DeValue::Array(elements) => {
            for (i, element_) in elements.iter().enumerate() {
                let path = element(path, i);
                out.insert(path.clone(), line(starts, element_.span().start));
                inside(element_.get_ref(), &path, starts, out);
            }
        }
        _ => {}
    }
}
