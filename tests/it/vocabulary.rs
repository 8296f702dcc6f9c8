//! One word for one thing: a reader who knows a name knows what it means in every file. ARCHITECTURE.md has the glossary.

use std::collections::BTreeMap;

use crate::repository::sources;

/// Names that each file of a kind has, with the meaning that they share.
const CONVENTIONS: &[(&str, &str)] = &[("Args", "the arguments of one command")];

/// Words that say nothing about what a function does.
const EMPTY_NAMES: &[&str] = &["look", "told", "on", "goes", "gone", "stands"];

const KEYWORDS: [&str; 4] = ["struct", "enum", "trait", "type"];

/// The name that a line declares after `pub …` and one of `keywords`.
fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().skip_while(|word| ["async", "const", "unsafe"].contains(word));
    let keyword = words.next()?;
    let name = words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    keywords.contains(&keyword).then_some(name)
}

fn ambiguous(sources: &[(String, String)]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| !file.contains("tests")) {
        for (n, line) in text.lines().enumerate() {
            if let Some(name) = declared(line, &KEYWORDS) {
                places.entry(name).or_default().push(format!("{file}:{}", n + 1));
            }
        }
    }
    places.retain(|name, places| places.len() > 1 && !CONVENTIONS.iter().any(|(known, _)| known == name));
    places.into_iter().map(|(name, places)| format!("`{name}`: {}", places.join(", "))).collect()
}

#[test]
fn no_public_type_name_stands_for_two_things() {
    let found = ambiguous(&sources());
    assert!(found.is_empty(), "{} names stand for more than one type:\n{}", found.len(), found.join("\n"));
    for (name, meaning) in CONVENTIONS {
        let used = sources().iter().any(|(_, text)| text.lines().any(|line| declared(line, &KEYWORDS) == Some(name)));
        assert!(used, "no file has `{name}` ({meaning})");
    }
}

/// The test above sees what it is about.
#[test]
fn a_second_type_of_one_name_is_found() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let sources = [
        file("plan/mod.rs", "pub struct Step {\n}\npub fn step() {}\npub(super) enum Act {}"),
        file("apply/up.rs", "    pub type Step<'a> = &'a str;\nstruct Act;\npub struct Args {}"),
        file("apply/tests.rs", "pub struct Step;"),
        file("cli/up.rs", "pub struct Args {}"),
    ];
    assert_eq!(ambiguous(&sources), ["`Step`: plan/mod.rs:1, apply/up.rs:1"]);
}

#[test]
fn functions_are_called_what_they_do() {
    let mut found = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !file.contains("tests")) {
        for (n, line) in text.lines().enumerate() {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ");
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
            if name.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
                found.push(format!("{file}:{}: {line}", n + 1));
            }
        }
    }
    assert!(found.is_empty(), "say what it does:\n{}", found.join("\n"));
}
