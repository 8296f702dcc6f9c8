//! The command reference (docs/cli.md), from clap's own description of the command line.

use std::fmt::Write;

use clap::{Arg, Command};

/// What the page begins with.
const HEAD: &str = "\
<!-- Generated: `lap help reference > docs/cli.md`. A test compares it. -->

# The command line

`lap help` explains commands and files in the terminal; `lap help exit-codes` lists the exit codes; `lap man DIRECTORY` writes manual pages.
Without an environment, a command uses the `default` of lap.toml.

An `ADDRESS` is `[environment/]application[/service[/copy]]`. A container is an application with one service, which has its name, and one copy, `1`:
`git`, `prod/git` and `prod/git/git/1` are addresses. An environment alone means all its containers, and `prod git dns` means `prod/git prod/dns`.

A command with `--yes` asks before it acts. Without a terminal and without `--yes` it refuses with exit code 2.
";

/// The page: every verb that is for people, in the order of `lap help`.
pub fn markdown(lap: &Command) -> String {
    let mut page = String::from(HEAD);
    page += "\n## Options of every command\n\n";
    for arg in lap.get_arguments().filter(|arg| arg.is_global_set()) {
        line(&mut page, arg);
    }
    for verb in lap.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        section(&mut page, verb, "lap", 2);
    }
    page
}

fn section(page: &mut String, verb: &Command, before: &str, depth: usize) {
    let name = format!("{before} {}", verb.get_name());
    add(page, format_args!("\n{} `{name}`\n\n", "#".repeat(depth)));
    let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
    let sentences: Vec<String> = about.split("\n\n").map(|text| format!("{}.", text.trim_end_matches('.'))).collect();
    add(page, format_args!("{}\n", sentences.join("\n\n")));
    let inner: Vec<&Command> = verb.get_subcommands().filter(|inner| !inner.is_hide_set()).collect();
    if inner.is_empty() {
        let usage = verb.clone().render_usage().to_string();
        add(page, format_args!("\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ")));
        arguments(page, "", verb.get_arguments().filter(|arg| !arg.is_global_set()));
    }
    for verb in inner {
        section(page, verb, &name, depth + 1);
    }
}

/// A line for each argument, positional ones first; nothing, not even the heading, where there are none.
fn arguments<'a>(page: &mut String, heading: &str, all: impl Iterator<Item = &'a Arg>) {
    let shown = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = all.filter(shown).partition(|arg| arg.is_positional());
    if positional.is_empty() && options.is_empty() {
        return;
    }
    if !heading.is_empty() {
        add(page, format_args!("\n{heading}\n"));
    }
    page.push('\n');
    for arg in positional.into_iter().chain(options) {
        line(page, arg);
    }
}

fn line(page: &mut String, arg: &Arg) {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    add(page, format_args!("- `{}`: {help}{}\n", spelling(arg), more(arg)));
}

/// `lap help options`: the options that every command has.
pub fn options(lap: &Command) -> String {
    let mut page = String::from("Options of every command:\n");
    for arg in lap.get_arguments().filter(|arg| arg.is_global_set()) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let spelt = spelling(arg).replace('`', "");
        add(&mut page, format_args!("\n  {spelt}\n      {help}{}\n", more(arg).replace('`', "")));
    }
    page
}

/// `-n`, `--tail <COUNT>`
fn spelling(arg: &Arg) -> String {
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    if arg.is_positional() {
        return values.join(" ");
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let takes = arg.get_action().takes_values();
    format!("{}{}", names.join("`, `"), if takes { format!(" {}", values.join(" ")) } else { String::new() })
}

/// Its words, its default, its variable.
fn more(arg: &Arg) -> String {
    let mut out = String::new();
    if arg.get_action().takes_values() {
        let words: Vec<String> =
            arg.get_possible_values().iter().map(|word| format!("`{}`", word.get_name())).collect();
        if !words.is_empty() {
            out += &format!(": {}", words.join(", "));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            out += &format!(" (default: {})", defaults.join(", "));
        }
    }
    if let Some(variable) = arg.get_env() {
        out += &format!(" (variable: `{}`)", variable.to_string_lossy());
    }
    out
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}
