//! What is written beside the code: the command reference, the command lines in the pages, and the links between them.

use std::{fs, path::Path};

use crate::workspace::Workspace;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_command_reference_is_generated() {
    let made = Workspace::none().lap(["help", "reference"]).code(0).says("").stdout;
    let written = read("docs/cli.md");
    if made != written {
        let differs = made.lines().zip(written.lines()).position(|(made, written)| made != written);
        let line = differs.unwrap_or(made.lines().count().min(written.lines().count()));
        panic!(
            "docs/cli.md is not what the code says, from line {} on:\n  is:     {}\n  should: {}\n\n`lap help reference > \
             docs/cli.md` writes it anew",
            line + 1,
            written.lines().nth(line).unwrap_or("(ends)"),
            made.lines().nth(line).unwrap_or("(ends)"),
        );
    }
}

#[test]
fn every_argument_is_explained() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(arg.get_help().is_some(), "`{}` of `{}` says nothing", arg.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&lap::cli::command());
}

/// README.md and every page of docs/, by name.
fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut names: Vec<String> = fs::read_dir(docs)
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.push("README.md".to_owned());
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn the_command_lines_of_every_page_parse() {
    // The reference shows each command's usage, not lines to type.
    for (name, text) in pages().into_iter().filter(|(name, _)| name != "docs/cli.md") {
        let lines = command_lines(&text);
        assert!(!lines.is_empty() || name != "README.md", "README.md shows no command line of lap's");
        for line in lines {
            let words = words(&line);
            if let Err(error) = lap::cli::command().try_get_matches_from(&words)
                && error.use_stderr()
            {
                panic!("{name}: `{line}`:\n{error}");
            }
            if words.get(1).is_some_and(|word| word == "help") {
                Workspace::none().lap(words.iter().skip(1).map(String::as_str)).code(0);
            }
        }
    }
}

/// Where a text in backticks is a command of lap's: its words after `lap`. Words that a message fills in end it.
fn named_commands(text: &str) -> Vec<Vec<&str>> {
    let mut out = Vec::new();
    for (at, begin) in text.match_indices("`lap ").chain(text.match_indices("`sudo lap ")) {
        let rest = &text[at + begin.len()..];
        let rest = &rest[..rest.find(['`', '\n']).unwrap_or(rest.len())];
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || "-|".contains(c));
        let words: Vec<&str> = rest.split(' ').take_while(|word| is_word(word) && !word.starts_with('-')).collect();
        out.push(words);
    }
    out
}

#[test]
fn every_command_that_a_text_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut left, mut found, mut wrong) =
        (vec![root.join("src"), root.join("crates"), root.join("docs")], 0, Vec::new());
    left.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "containers", "env", "scripts"]
            .map(|name| root.join(name)),
    );
    let command = lap::cli::command();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // The words of earlier versions are named there.
        if path.ends_with("src/cli/moved.rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for words in named_commands(&text) {
            let Some(first) = words.first() else { continue };
            found += 1;
            let exists = first.split('|').all(|first| {
                let Some(verb) = command.find_subcommand(first) else { return false };
                let second = words.get(1).filter(|_| verb.is_subcommand_required_set());
                second.is_none_or(|second| second.split('|').all(|second| verb.find_subcommand(second).is_some()))
            });
            if !exists {
                wrong.push(format!("{}: `lap {}`", path.display(), words.join(" ")));
            }
        }
    }
    assert!(found > 200, "only {found} commands are named: this test checks nothing");
    assert!(wrong.is_empty(), "no such commands:\n{}", wrong.join("\n"));
}

/// `file.rs::test` in backticks, wherever the page names one.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    page.split('`').skip(1).step_by(2).filter_map(|word| word.split_once(".rs::")).collect()
}

/// Whether a Rust file has a test of this name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let named = |line: &str| line.trim_start_matches("async ").starts_with(&format!("fn {name}("));
    let marked = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    let is_test = |at: usize| at > 0 && marked(lines[at - 1]);
    (0..lines.len()).any(|at| named(lines[at]) && is_test(at))
}

#[test]
fn every_promise_of_the_security_page_names_tests_that_exist() {
    let page = read("docs/security.md");
    let promises = page.split("## What lap promises").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 15, "the table of promises is not where it was");
    for row in rows {
        assert!(!named_tests(row).is_empty(), "no test shows this promise: {row}");
    }
    for (file, test) in named_tests(&page) {
        assert!(has_test(&read(&format!("{file}.rs")), test), "there is no test `{test}` in {file}.rs");
    }
    assert!(!has_test("fn helper() {}\n#[test]\nfn other() {}", "helper"), "the check can fail");
}

#[test]
fn the_front_door_is_short_and_its_links_lead_somewhere() {
    for (name, text) in pages() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(here.parent().unwrap().join(path).exists(), "{name} links to `{target}`, which is not there");
        }
        if name == "README.md" {
            assert!(text.len() <= 6 << 10, "README.md has {} bytes", text.len());
        } else if name != "docs/README.md" {
            let page = name.trim_start_matches("docs/");
            assert!(read("docs/README.md").contains(page), "docs/README.md does not list {page}");
        }
    }
}

/// The command lines of lap's in a page's code blocks. In a block with `$ ` only such lines are typed, the rest is output.
fn command_lines(page: &str) -> Vec<String> {
    let mut out = Vec::new();
    // Every second piece is inside a fence; its first line is the fence's language.
    for block in page.split("```").skip(1).step_by(2) {
        let typed = block.lines().any(|line| line.starts_with("$ "));
        let joined = block.replace("\\\n", " ");
        for line in joined.lines().skip(1) {
            let line = match line.strip_prefix("$ ") {
                Some(line) => line,
                None if typed => continue,
                None => line,
            };
            let commands = line.split("&&").map(|command| command.trim().trim_start_matches("sudo "));
            out.extend(commands.filter(|command| command.starts_with("lap ")).map(str::to_owned));
        }
    }
    out
}

/// The words a shell would make of a line, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | ';') => break,
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[test]
fn a_page_is_read_as_a_person_reads_it() {
    let page = "\
lap not this
```sh
lap up            # the whole lab
git pull && sudo lap up test > log
lap exec git -- sh -c 'a | b'
```
```console
$ lap status \\
  --json | jq
lap is output here
```
";
    assert_eq!(command_lines(page).len(), 4);
    let all: Vec<String> = command_lines(page).iter().map(|line| words(line).join(",")).collect();
    assert_eq!(all, ["lap,up", "lap,up,test", "lap,exec,git,--,sh,-c,a | b", "lap,status,--json"]);
}
