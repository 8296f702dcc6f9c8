//! Names: one DNS label, or labels under the lab's zone.

use crate::config::{model::ZONE, problem::shown};

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

/// The zone all names of a lab are in, without a final dot, e.g. `internal` or `lab.example.org`.
pub fn zone(text: &str) -> Result<String, String> {
    // Room for the names below it.
    if text.len() > 127 {
        return Err(format!("the zone {} is longer than 127 characters: write a shorter one", shown(text)));
    }
    if ["localhost", "arpa"].iter().any(|own| below(text, own).is_some() || text == *own) {
        return Err(format!("the zone {} is reserved: write e.g. `{ZONE}`", shown(text)));
    }
    domain(text)
}

/// A domain, without a final dot.
pub fn domain(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.len() > 253 {
        return Err(format!("{} is longer than 253 characters: write a shorter one", shown(text)));
    }
    for part in bare.split('.') {
        label(part)?;
    }
    Ok(bare.to_owned())
}

/// What stands before `.zone` in a name; `None` for what is not below it.
pub fn below<'a>(name: &'a str, zone: &str) -> Option<&'a str> {
    name.strip_suffix(zone)?.strip_suffix('.').filter(|labels| !labels.is_empty())
}

/// A full name under the zone, e.g. `git.internal` or `ubuntu.cache.internal`.
pub fn in_zone(text: &str, zone: &str) -> Result<String, String> {
    let Some(labels) = below(text, zone) else {
        let first = text.split('.').next().and_then(suggest).unwrap_or_else(|| "git".to_owned());
        return Err(format!("{} is not a name in the zone `{zone}`: write e.g. `{first}.{zone}`", shown(text)));
    };
    if text.len() > 253 {
        return Err(format!("{} is longer than 253 characters: write a shorter one", shown(text)));
    }
    for part in labels.split('.') {
        label(part)?;
    }
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if SUB_ZONES.contains(&last) {
        return Err(format!("names under `{last}.{zone}` are reserved for lap: write e.g. `git.{zone}`"));
    }
    Ok(text.to_owned())
}

/// Whose record it is: the zone itself, a name in it, or all names below one (`*.apps.internal`). Unlike the names of
/// machines they may hold `_` (`_ldap._tcp.internal`).
pub fn owner(text: &str, zone: &str) -> Result<String, String> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if lower == zone {
        return Ok(lower);
    }
    let Some(labels) = below(&lower, zone) else {
        return Err(format!("{} is not a name in the zone `{zone}`: write e.g. `www.{zone}`", shown(text)));
    };
    if lower.len() > 253 {
        return Err(format!("{} is longer than 253 characters: write a shorter one", shown(text)));
    }
    for (i, part) in labels.split('.').enumerate() {
        match part {
            "*" if i == 0 => {}
            _ if part.contains('*') => {
                return Err(format!(
                    "{} has `*` in a place other than the first label: write e.g. `*.apps.{zone}`",
                    shown(text)
                ));
            }
            _ => {
                // What begins with `_` is a service or a protocol (RFC 8552).
                label(&part.replace('_', "x"))
                    .map_err(|_| format!("{} is not a name: write e.g. `www.{zone}`", shown(text)))?;
            }
        }
    }
    Ok(lower)
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
    use crate::config::model::ZONE;

    #[test]
    fn good_names() {
        for name in ["a", "git", "9to5", "a--b", "x-1", &"a".repeat(63)] {
            assert_eq!(label(name).unwrap(), *name);
        }
        assert!(pc("anna-meier-laptop").is_ok());
        assert!(in_zone("ubuntu.cache.internal", ZONE).is_ok());
        assert!(in_zone("git.lab.example.org", "lab.example.org").is_ok());
        for name in ["internal", "www.internal", "_ldap._tcp.internal", "*.apps.internal", "*.internal"] {
            assert_eq!(owner(name, ZONE).as_deref(), Ok(name));
        }
        assert_eq!(owner("WWW.Internal.", ZONE).as_deref(), Ok("www.internal"));
        assert_eq!(zone("lab.example.org").as_deref(), Ok("lab.example.org"));
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
            zone,
            &[
                ("", &format!("the name is empty: {help}")),
                ("localhost", "the zone `localhost` is reserved: write e.g. `internal`"),
                ("10.in-addr.arpa", "the zone `10.in-addr.arpa` is reserved: write e.g. `internal`"),
                ("Lab", &format!("`Lab` is not a name: {help} between them, e.g. `lab`")),
            ],
        );
        messages(
            |text| owner(text, ZONE),
            &[
                ("www", "`www` is not a name in the zone `internal`: write e.g. `www.internal`"),
                (
                    "a.*.internal",
                    "`a.*.internal` has `*` in a place other than the first label: write e.g. `*.apps.internal`",
                ),
                (
                    "x*.internal",
                    "`x*.internal` has `*` in a place other than the first label: write e.g. `*.apps.internal`",
                ),
                ("a..internal", "`a..internal` is not a name: write e.g. `www.internal`"),
                ("ä.internal", "`ä.internal` is not a name: write e.g. `www.internal`"),
            ],
        );
        messages(
            |text| in_zone(text, ZONE),
            &[
                ("git", "`git` is not a name in the zone `internal`: write e.g. `git.internal`"),
                (
                    "git.example.com",
                    "`git.example.com` is not a name in the zone `internal`: write e.g. `git.internal`",
                ),
                ("internal", "`internal` is not a name in the zone `internal`: write e.g. `internal.internal`"),
                ("a.node.internal", "names under `node.internal` are reserved for lap: write e.g. `git.internal`"),
                ("a..internal", &format!("the name is empty: {help}")),
            ],
        );
    }
}
