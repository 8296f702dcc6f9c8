//! The key `dns` of Docker's `daemon.json`, changed without touching anything else of it: not the order of its keys, not
//! their spacing.

use std::ops::Range;

use serde_json::{Map, Value};

use super::diff::lines_of;

/// `dns` as it is written.
#[derive(Debug, PartialEq, Eq)]
pub struct DaemonDns {
    /// The value's text.
    pub raw: String,
    /// Its addresses.
    pub list: Vec<String>,
}

/// Reads `dns`; `None` when there is none.
///
/// # Errors
/// What is wrong with the file: it is no JSON object, or the key is there twice or no list of strings.
pub fn read(text: &str) -> Result<Option<DaemonDns>, String> {
    if text.trim().is_empty() {
        return Ok(None); // dockerd takes an empty file for an empty object
    }
    serde_json::from_str::<Map<String, Value>>(text).map_err(|e| format!("it is not a JSON object: {e}"))?;
    let members = members(text);
    let mut found = members.iter().filter(|member| member.key == "dns");
    let Some(member) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err("the key `dns` is there twice".into());
    }
    let raw = text[member.value.clone()].to_owned();
    let list = serde_json::from_str(&raw).map_err(|_| "`dns` is not a list of addresses".to_owned())?;
    Ok(Some(DaemonDns { raw, list }))
}

/// The value's text for these servers.
pub fn value(servers: &[String]) -> String {
    format!("[{}]", servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", "))
}

/// The text with `dns` set to this value, or without it. The text must be one that [`read`] reads.
pub fn set(text: &str, raw: Option<&str>) -> String {
    let members = members(text);
    let replaced = |range: Range<usize>, by: &str| format!("{}{by}{}", &text[..range.start], &text[range.end..]);
    match (members.iter().position(|member| member.key == "dns"), raw) {
        (None, None) => text.to_owned(),
        (Some(n), Some(raw)) => replaced(members[n].value.clone(), raw),
        // With the comma before it; the first one with the comma behind it.
        (Some(0), None) => match members.get(1) {
            Some(second) => replaced(members[0].start..second.start, ""),
            None => replaced(members[0].start..members[0].value.end, ""),
        },
        (Some(n), None) => replaced(members[n - 1].value.end..members[n].value.end, ""),
        (None, Some(raw)) => match members.last() {
            Some(last) => {
                let before = &text[..last.start];
                let indent = &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
                let space = if indent.contains('\n') || members.len() > 1 { indent } else { " " };
                replaced(last.value.end..last.value.end, &format!(",{space}\"dns\": {raw}"))
            }
            None => match (text.find('{'), text.rfind('}')) {
                (Some(open), Some(close)) => replaced(open + 1..close, &format!("\n  \"dns\": {raw}\n")),
                _ => format!("{{\n  \"dns\": {raw}\n}}\n"),
            },
        },
    }
}

/// What [`set`] made of an empty object and took back is empty again.
pub fn is_empty(text: &str) -> bool {
    lines_of(text).iter().all(|line| matches!(line.trim(), "" | "{" | "}" | "{}"))
}

/// One `"key": value` of the outermost object.
struct Member {
    key: String,
    /// Where its key begins.
    start: usize,
    value: Range<usize>,
}

/// The members of the outermost object, in their order. Only for what is JSON: then commas, colons and brackets outside of
/// strings are all there is to see.
fn members(text: &str) -> Vec<Member> {
    let (mut out, mut depth, mut in_string, mut escaped) = (Vec::new(), 0usize, false, false);
    let (mut start, mut colon) = (None::<usize>, None::<usize>);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if depth == 1
            && matches!(byte, b',' | b'}')
            && let (Some(key), Some(colon)) = (start.take(), colon.take())
        {
            let value = text[colon + 1..at].trim();
            let from = colon + 1 + (text[colon + 1..at].len() - text[colon + 1..at].trim_start().len());
            let name = serde_json::from_str(text[key..colon].trim()).unwrap_or_default();
            out.push(Member { key: name, start: key, value: from..from + value.len() });
        }
        match byte {
            b'"' => {
                in_string = true;
                if depth == 1 && start.is_none() {
                    start = Some(at);
                }
            }
            b':' if depth == 1 => colon = colon.or(Some(at)),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    out
}
