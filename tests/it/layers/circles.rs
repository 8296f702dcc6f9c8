//! Whether the entries of each folder depend on each other one way.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::house::Edges;

/// Entries of one folder that depend on each other, and the imports that make it so.
#[derive(Debug)]
pub struct Circle {
    pub folder: String,
    pub entries: BTreeSet<String>,
    /// From entry, to entry: `file -> file: names`.
    pub because: BTreeMap<(String, String), Vec<String>>,
}

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries: Vec<&str> = self.entries.iter().map(String::as_str).collect();
        writeln!(f, "src/{}: {} entries depend on each other: {}", self.folder, entries.len(), entries.join(", "))?;
        for ((from, to), imports) in &self.because {
            writeln!(f, "  {from} -> {to}")?;
            for import in imports {
                writeln!(f, "    {import}")?;
            }
        }
        Ok(())
    }
}

/// The circles of every folder.
pub fn circles(edges: &Edges) -> Vec<Circle> {
    let files = edges.keys().flat_map(|(from, to)| [from, to]);
    let mut folders = BTreeSet::from([String::new()]);
    for file in files {
        folders.extend(file.match_indices('/').map(|(at, _)| file[..=at].to_owned()));
    }
    folders.iter().flat_map(|folder| in_folder(folder, edges)).collect()
}

/// The entry of `folder` in which `file` is.
pub fn entry<'a>(folder: &str, file: &'a str) -> Option<&'a str> {
    let rest = file.strip_prefix(folder)?;
    Some(rest.find('/').map_or(rest, |at| &rest[..=at]))
}

/// From entry, to entry: the imports.
type Between = BTreeMap<(String, String), Vec<String>>;

fn in_folder(folder: &str, edges: &Edges) -> Vec<Circle> {
    let mut between = Between::new();
    for ((from, to), names) in edges {
        let (Some(a), Some(b)) = (entry(folder, from), entry(folder, to)) else { continue };
        if a != b {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let line = format!("{from} -> {to}: {}", names.join(", "));
            between.entry((a.to_owned(), b.to_owned())).or_default().push(line);
        }
    }
    let mut left: BTreeSet<String> = between.keys().map(|(from, _)| from.clone()).collect();
    let mut out = Vec::new();
    while let Some(first) = left.pop_first() {
        let ahead = reach(&first, &between);
        let circle: BTreeSet<String> =
            ahead.into_iter().filter(|entry| *entry == first || reach(entry, &between).contains(&first)).collect();
        left.retain(|entry| !circle.contains(entry));
        if circle.len() > 1 {
            let inside = between.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
            let because = inside.map(|(ends, imports)| (ends.clone(), imports.clone())).collect();
            out.push(Circle { folder: folder.to_owned(), entries: circle, because });
        }
    }
    out
}

/// What `from` depends on, itself included.
fn reach(from: &str, between: &Between) -> BTreeSet<String> {
    let mut seen = BTreeSet::from([from.to_owned()]);
    let mut next = vec![from.to_owned()];
    while let Some(at) = next.pop() {
        let range = (at.clone(), String::new())..;
        for ((_, to), _) in between.range(range).take_while(|((from, _), _)| *from == at) {
            if seen.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    seen
}
