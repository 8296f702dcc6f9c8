//! Names: one DNS label, or labels under the lab's zone.

use crate::config::problem::shown;

/// Every name of a lab ends in this.
pub const ZONE: &str = "internal";

/// Sub-zones that lap fills itself, so neither an environment nor a container may be called so.
pub const SUB_ZONES: [&str; 3] = ["node", "host", "pc"];

/// One label: what a lab, node, environment, container, host or person may be called.
pub fn label(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() {
        return Err("the name is empty: write lower-case letters, digits and hyphens".to_owned());
    }
    if text.len() > 63 {
        return Err(format!("the name {} is longer than 63 characters: write a shorter one", shown(text)));
    }
    if !text.bytes().all(good) || text.starts_with('-') || text.ends_with('-') {
        let suggestion = suggest(text).map(|name| format!(", e.g. `{name}`")).unwrap_or_default();
        return Err(format!(
            "{} is not a name: write lower-case letters, digits and hyphens between them{suggestion}",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// A work station: `<first>-<last>[-<specifier>]`.
pub fn pc(text: &str) -> Result<String, String> {
    let name = label(text)?;
    if name.split('-').filter(|part| !part.is_empty()).count() < 2 {
        return Err(format!("`{name}` is not a pc's name: write `<first>-<last>[-<specifier>]`, e.g. `anna-meier`"));
    }
    Ok(name)
}

/// A full name under the zone, e.g. `git.internal` or `ubuntu.cache.internal`.
pub fn in_zone(text: &str) -> Result<String, String> {
    let under = text.strip_suffix(ZONE).and_then(|rest| rest.strip_suffix('.'));
    let Some(labels) = under.filter(|labels| !labels.is_empty()) else {
        let first = text.split('.').next().and_then(suggest).unwrap_or_else(|| "git".to_owned());
        return Err(format!("{} is not a name in the zone `{ZONE}`: write e.g. `{first}.{ZONE}`", shown(text)));
    };
    if text.len() > 253 {
        return Err(format!("{} is longer than 253 characters: write a shorter one", shown(text)));
    }
    for part in labels.split('.') {
        label(part)?;
    }
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if SUB_ZONES.contains(&last) {
        return Err(format!("names under `{last}.{ZONE}` are lap's own: write e.g. `git.{ZONE}`"));
    }
    Ok(text.to_owned())
}

/// The name as it was probably meant.
fn suggest(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let mapped: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = mapped.trim_matches('-');
    (!name.is_empty() && name.len() <= 63).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn good_names() {
        for name in ["a", "git", "9to5", "a--b", "x-1", &"a".repeat(63)] {
            assert_eq!(label(name).unwrap(), *name);
        }
        assert!(pc("anna-meier-laptop").is_ok());
        assert!(in_zone("ubuntu.cache.internal").is_ok());
    }

    #[test]
    fn bad_names() {
        let help = "write lower-case letters, digits and hyphens";
        messages(
            label,
            &[
                ("", &format!("the name is empty: {help}")),
                ("My_Git", &format!("`My_Git` is not a name: {help} between them, e.g. `my-git`")),
                ("-a", &format!("`-a` is not a name: {help} between them, e.g. `a`")),
                ("ä", &format!("`ä` is not a name: {help} between them")),
                ("a\u{1b}b", &format!("`a\\u{{1b}}b` is not a name: {help} between them, e.g. `a-b`")),
            ],
        );
        assert!(label(&"a".repeat(64)).unwrap_err().ends_with("is longer than 63 characters: write a shorter one"));
        messages(pc, &[("anna", "`anna` is not a pc's name: write `<first>-<last>[-<specifier>]`, e.g. `anna-meier`")]);
        messages(
            in_zone,
            &[
                ("git", "`git` is not a name in the zone `internal`: write e.g. `git.internal`"),
                (
                    "git.example.com",
                    "`git.example.com` is not a name in the zone `internal`: write e.g. `git.internal`",
                ),
                ("internal", "`internal` is not a name in the zone `internal`: write e.g. `internal.internal`"),
                ("a.node.internal", "names under `node.internal` are lap's own: write e.g. `git.internal`"),
                ("a..internal", &format!("the name is empty: {help}")),
            ],
        );
    }
}
