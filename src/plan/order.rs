//! Dependency order.

use std::collections::{BTreeMap, BTreeSet};

/// All names so that each comes after what it depends on; ties in the order of names. Names in a cycle (a workspace
/// with one is refused before it comes here) come last.
pub fn topological<'a>(depends: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<&'a str> {
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, on) in depends {
        let on: Vec<&str> = on.iter().copied().filter(|on| depends.contains_key(on)).collect();
        missing.insert(name, on.len());
        for on in on {
            dependents.entry(on).or_default().push(name);
        }
    }
    let mut ready: BTreeSet<&str> = missing.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
    let mut out = Vec::with_capacity(depends.len());
    while let Some(name) = ready.pop_first() {
        out.push(name);
        for dependent in dependents.remove(name).unwrap_or_default() {
            if let Some(left) = missing.get_mut(dependent) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    let seen: BTreeSet<&str> = out.iter().copied().collect();
    out.extend(depends.keys().filter(|name| !seen.contains(*name)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let depends = BTreeMap::from([
            ("a", BTreeSet::from(["c", "unknown"])),
            ("b", BTreeSet::new()),
            ("c", BTreeSet::from(["b"])),
            ("x", BTreeSet::from(["y"])),
            ("y", BTreeSet::from(["x"])),
        ]);
        assert_eq!(topological(&depends), ["b", "c", "a", "x", "y"]);
    }
}
