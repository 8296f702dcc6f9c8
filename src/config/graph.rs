//! Cycles among names that point at names.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Each cycle as its members in order, beginning with the smallest, e.g. `[a, b]` for a → b → a.
///
/// Pointers to unknown names are ignored. Where cycles share a member, one of them is given: when it is gone, the next
/// shows. Without recursion: a workspace may be as deep as it likes.
pub fn cycles<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut done: HashSet<&str> = HashSet::new();
    let mut told: HashSet<&str> = HashSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        if done.contains(start) {
            continue;
        }
        // The way from `start` to here, with how many of each member's pointers are already followed.
        let mut way: Vec<(&'a str, usize)> = vec![(start, 0)];
        let mut depth: HashMap<&str, usize> = HashMap::from([(*start, 0)]);
        while let Some((node, next)) = way.last_mut() {
            let Some(target) = edges[*node].get(*next).copied() else {
                done.insert(node);
                depth.remove(*node);
                way.pop();
                continue;
            };
            *next += 1;
            if let Some(from) = depth.get(target) {
                let cycle: Vec<&str> = way[*from..].iter().map(|(name, _)| *name).collect();
                if cycle.iter().all(|name| !told.contains(name)) {
                    told.extend(&cycle);
                    found.push(rotated(cycle));
                }
            } else if edges.contains_key(target) && !done.contains(target) {
                depth.insert(target, way.len());
                way.push((target, 0));
            }
        }
    }
    found
}

/// `a → b → a`, for messages.
pub fn drawn(cycle: &[&str]) -> String {
    let mut names: Vec<_> = cycle.iter().map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    names.join(" → ")
}

fn rotated(mut cycle: Vec<&str>) -> Vec<&str> {
    let smallest = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(i, _)| i);
    cycle.rotate_left(smallest);
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_cycle_once() {
        type Edges = &'static [(&'static str, &'static [&'static str])];
        let table: &[(Edges, &[&[&str]])] = &[
            (&[("a", &["b"]), ("b", &[])], &[]),
            (&[("a", &["a"])], &[&["a"]]),
            (&[("c", &["b"]), ("b", &["a"]), ("a", &["c"]), ("x", &["a"])], &[&["a", "c", "b"]]),
            (&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &["gone"])], &[]),
            (&[("a", &["b"]), ("b", &["a"]), ("c", &["d"]), ("d", &["c"])], &[&["a", "b"], &["c", "d"]]),
        ];
        for (edges, want) in table {
            let edges = edges.iter().map(|(name, to)| (*name, to.to_vec())).collect();
            assert_eq!(cycles(&edges), *want, "{edges:?}");
        }
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let names: Vec<String> = (0..200_000).map(|i| format!("n{i:06}")).collect();
        let edges = (0..names.len()).map(|i| (&*names[i], vec![&*names[(i + 1) % names.len()]])).collect();
        assert_eq!(cycles(&edges)[0].len(), names.len());
    }
}
