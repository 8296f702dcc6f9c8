//! `lap help`: exit codes, files, verbs.

use std::collections::BTreeSet;

use lap_base::Kind;
use lap_base::exit;

use crate::workspace::Workspace;

/// Every kind. The match keeps the list whole: a new kind does not compile until it is here.
fn kinds() -> Vec<Kind> {
    let all = vec![
        Kind::Usage,
        Kind::Config,
        Kind::Host,
        Kind::Node,
        Kind::Build,
        Kind::Unhealthy,
        Kind::Locked,
        Kind::Keys,
        Kind::Refused,
        Kind::Interrupted,
        Kind::Other,
    ];
    for kind in &all {
        match kind {
            Kind::Usage
            | Kind::Config
            | Kind::Host
            | Kind::Node
            | Kind::Disconnected
            | Kind::Build
            | Kind::Unhealthy => {}
            Kind::Locked | Kind::Keys | Kind::Refused | Kind::Interrupted | Kind::Other => {}
        }
    }
    all
}

#[test]
fn exit_codes_are_the_table() {
    let out = Workspace::none().lap(["help", "exit-codes"]).code(0).says("").stdout;
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("CODE  NAME         MEANING"));
    for (code, name, meaning) in exit::TABLE {
        assert_eq!(lines.next().unwrap_or_default(), format!("{code:<4}  {name:11}  {meaning}"));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn every_kind_has_its_row() {
    for kind in kinds() {
        let name = serde_json::to_value(kind).unwrap();
        let rows: Vec<_> = exit::TABLE.iter().filter(|(_, row, _)| name == *row).collect();
        assert_eq!(rows.len(), 1, "{kind:?}");
        assert_eq!(rows[0].0, exit::code(kind), "{kind:?}");
    }
    let codes: BTreeSet<u8> = exit::TABLE.iter().map(|(code, ..)| *code).collect();
    assert_eq!(codes.len(), exit::TABLE.len(), "a code stands there twice");
    // One for each kind, and `ok`.
    assert_eq!(exit::TABLE.len(), kinds().len() + 1);
}

#[test]
fn files_are_explained_by_an_example() {
    let workspace = Workspace::none();
    for (file, key) in [
        ("lap.toml", "lab = "),
        ("node.toml", "role = "),
        ("container.toml", "depends_on = "),
        ("env.toml", "promote_from = "),
        ("rootfs.toml", "suite = "),
    ] {
        let text = workspace.lap(["help", file]).code(0).says("").stdout;
        assert!(text.contains(key), "{file} says nothing of `{key}`:\n{text}");
        assert!(text.starts_with('#'), "{file} begins with what it is");
    }
}

#[test]
fn verbs_are_explained() {
    let workspace = Workspace::none();
    let all = workspace.lap(["help"]).code(0).says("").stdout;
    assert_eq!(workspace.lap(["-h"]).code(0).stdout, all);
    for word in ["exit-codes", "lap.toml", "container.toml", "options"] {
        assert!(all.lines().rev().take(2).any(|line| line.contains(word)), "{all}");
    }
    for verb in lap::cli::command().get_subcommands() {
        let name = verb.get_name();
        // Its commands are for a rare need: `lap help reference` has them.
        let on_the_page = name != "image" && !verb.is_hide_set();
        let listed = all.lines().any(|line| line.split_whitespace().take(2).any(|word| word == name));
        let named = all.contains(&format!("`lap {name} "));
        assert_eq!(listed || named, on_the_page, "`{name}` in `lap help`");
        let text = workspace.lap(["help", name]).code(0).says("").stdout;
        assert!(text.contains(&format!("Usage: lap {name}")), "{text}");
        assert!(text.ends_with("Options of every command: `lap help options`\n"), "{text}");
    }
    assert!(
        workspace.lap(["help", "keys", "export"]).code(0).stdout.contains("Usage: lap keys export [OPTIONS] <FILE>")
    );
    assert!(
        workspace.lap(["help", "exec"]).code(0).stdout.contains("Usage: lap exec [OPTIONS] <ADDRESS> -- <COMMAND>...")
    );
    for topic in [["help", "nope", ""], ["help", "up", "nope"]] {
        let words = topic.into_iter().filter(|word| !word.is_empty());
        workspace
            .lap(words)
            .fails(2, "error: there is no help on `nope`\nhint: `lap help` lists commands and topics\n");
    }
}

#[test]
fn a_word_of_another_tool_gets_the_command_that_does_it() {
    let workspace = Workspace::none();
    for (word, instead) in [("deploy", "`lap promote`"), ("ps", "`lap status`"), ("scale", "`lap up`")] {
        let stderr = workspace.lap([word]).code(2).stderr;
        assert!(stderr.starts_with(&format!("error: there is no command `{word}`\nhint: ")), "{stderr}");
        assert!(stderr.contains(instead), "{stderr}");
    }
    let stderr = workspace.lap(["statsu"]).code(2).stderr;
    assert!(stderr.contains("'status'"), "a mistake gets the command that is spelt like it: {stderr}");
}

#[test]
fn an_old_word_gets_the_command_line_of_today() {
    let workspace = Workspace::none();
    for (line, now) in [
        ("plan prod --json", "`lap up --dry-run prod --json`"),
        ("ledger verify", "`lap release ledger verify`"),
        ("drill prod", "`lap recover --drill prod`"),
        ("-C /tmp build test git", "`lap -C /tmp image build test git`"),
    ] {
        let word = line.trim_start_matches("-C /tmp ").split(' ').next().unwrap();
        let error = format!("error: there is no command `{word}`\nhint: {now}\n");
        workspace.lap(line.split(' ')).fails(2, &error);
    }
    workspace.lap(["help", "conformance"]).fails(
        2,
        "error: there is no help on `conformance`\nhint: `lap doctor --conformance` does that now: `lap help doctor`\n",
    );
}

#[test]
fn each_command_has_a_manual_page() {
    let workspace = Workspace::none();
    let said = workspace.lap(["man", "share/man1"]).code(0).says("").stdout;
    for page in ["lap.1", "lap-promote.1", "lap-snapshot.1", "lap-snapshot-list.1", "lap-dns-key-new.1"] {
        assert!(workspace.root().join("share/man1").join(page).is_file(), "{page}: {said}");
    }
    assert!(!workspace.root().join("share/man1/lap-agent.1").exists(), "it is not for people");
    workspace.lap(["man", "/proc/none"]).code(4);
}

/// Each command that has `--yes`: its name, and a command line without that option.
fn asking(command: &clap::Command, above: &[String]) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let mut words = above.to_vec();
        words.push(verb.get_name().to_owned());
        out.extend(asking(verb, &words));
        if verb.get_arguments().any(|arg| arg.get_id() == "yes") {
            let name = words.join(" ");
            words.extend(verb.get_positionals().filter(|arg| arg.is_required_set()).map(|_| "1".to_owned()));
            out.push((name, words));
        }
    }
    out
}

#[test]
fn a_command_that_asks_refuses_without_a_terminal() {
    let workspace = Workspace::none();
    let mut tried = Vec::new();
    for (name, words) in asking(&lap::cli::command(), &[]) {
        let error = format!(
            "error: `lap {name}` asks for confirmation, and there is no terminal\nhint: answer the question with `--yes`\n"
        );
        workspace.lap(words.iter().map(String::as_str)).fails(2, &error);
        tried.push(name);
    }
    assert!(tried.contains(&"restore".to_owned()) && tried.len() >= 10, "{tried:?}");
}

#[test]
fn options_of_every_command_are_explained_once() {
    let workspace = Workspace::none();
    let options = workspace.lap(["help", "options"]).code(0).says("").stdout;
    for option in ["--directory <DIR>", "--lab <NAME>", "--progress <STYLE>"] {
        assert!(options.contains(option), "{options}");
        assert!(!workspace.lap(["help", "up"]).code(0).stdout.contains(option), "{option}");
    }
}
