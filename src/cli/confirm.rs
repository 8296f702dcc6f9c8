//! Confirmation: which commands ask before they act, how they ask, and how `--yes` answers.
//!
//! The rule is in ARCHITECTURE.md, section "Confirmation". [`COMMANDS`] applies it to each command.

use std::io::{IsTerminal, stdin};

use clap::ArgMatches;
use lap_base::error::{Error, Kind, OrError, Result};

use crate::report::print::errln;

/// What a command asks before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nothing: it reads, adds, starts or stops, or `--undo` undoes it exactly.
    Nothing,
    /// Yes or no; `--yes` answers.
    Yes,
    /// The name of what it removes with all data; `--yes` answers.
    Name,
    /// Whether a host key is the right one. Only `--host-key` answers: `--yes` would trust any key.
    HostKey,
}

/// Each command and what it asks. A test compares the list with the commands that exist.
pub const COMMANDS: &[(&str, Asks)] = &[
    ("init", Asks::Nothing),
    ("doctor", Asks::Nothing),
    ("up", Asks::Nothing),
    ("down", Asks::Nothing),
    ("start", Asks::Nothing),
    ("stop", Asks::Nothing),
    ("restart", Asks::Nothing),
    ("image build", Asks::Nothing),
    ("image list", Asks::Nothing),
    ("image seed", Asks::Nothing),
    ("status", Asks::Nothing),
    ("check", Asks::Nothing),
    ("logs", Asks::Nothing),
    ("exec", Asks::Nothing),
    ("ssh", Asks::Nothing),
    ("node add", Asks::HostKey),
    ("node prepare", Asks::Yes),
    ("node list", Asks::Nothing),
    ("node rm", Asks::Name),
    ("node image", Asks::Nothing),
    ("host install", Asks::Yes),
    ("destroy", Asks::Name),
    ("snapshot", Asks::Nothing),
    ("snapshot list", Asks::Nothing),
    ("snapshot diff", Asks::Nothing),
    ("snapshot show", Asks::Nothing),
    ("snapshot mount", Asks::Nothing),
    // With `--due` it also removes copies: a timer runs it, and `[copies]` in lap.toml decides.
    ("snapshot copy", Asks::Nothing),
    ("snapshot fetch", Asks::Nothing),
    ("snapshot verify", Asks::Nothing),
    ("snapshot export", Asks::Nothing),
    ("snapshot import", Asks::Nothing),
    ("snapshot prune", Asks::Yes),
    ("snapshot rm", Asks::Yes),
    ("restore", Asks::Yes),
    ("repository", Asks::Nothing),
    ("repository init", Asks::Nothing),
    ("repository passphrase", Asks::Nothing),
    // It refuses where data exists.
    ("recover", Asks::Nothing),
    ("promote", Asks::Yes),
    ("rollback", Asks::Yes),
    ("release list", Asks::Nothing),
    ("release show", Asks::Nothing),
    ("release diff", Asks::Nothing),
    ("release ledger", Asks::Nothing),
    ("release ledger verify", Asks::Nothing),
    // It replaces no file that can be read.
    ("release record", Asks::Nothing),
    ("prune", Asks::Yes),
    ("keys new", Asks::Nothing),
    ("keys list", Asks::Nothing),
    ("keys export", Asks::Nothing),
    ("keys import", Asks::Nothing),
    ("keys trust", Asks::Nothing),
    ("dns list", Asks::Nothing),
    ("dns add", Asks::Nothing),
    // `dns add` adds the record again.
    ("dns rm", Asks::Nothing),
    ("dns check", Asks::Nothing),
    ("dns key new", Asks::Nothing),
    ("dns key list", Asks::Nothing),
    ("dns key rm", Asks::Yes),
    ("dns install", Asks::Nothing),
    ("dns query", Asks::Nothing),
    ("dns serve", Asks::Nothing),
    ("completions", Asks::Nothing),
    // It writes its own pages anew, as `lap completions` its script.
    ("man", Asks::Nothing),
    ("help", Asks::Nothing),
];

/// Options with which a command that asks does not: it changes nothing, or goes on with what was agreed to before.
const WITHOUT_QUESTION: [&str; 4] = ["yes", "dry_run", "abort", "resume"];

/// The option of every command that asks.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Whether the command line has `--yes`.
    pub fn is_given(self) -> bool {
        self.yes
    }

    /// Asks `question`, unless `--yes` was given.
    pub fn ask(self, question: &str) -> Result<()> {
        if self.yes || yes(question, "--yes")? { Ok(()) } else { Err(cancelled()) }
    }

    /// Says `what` the command removes and asks for `name`, unless `--yes` was given.
    pub fn ask_name(self, what: &str, name: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        let answer = answer(&format!("{what} Type `{name}` to confirm:"), "--yes")?;
        if answer == name {
            return Ok(());
        }
        Err(Error::new(Kind::Interrupted, format!("the answer is not `{name}`; nothing has changed")))
    }
}

/// Refuses a command that will ask where there is no terminal, before it does anything.
pub fn check(matches: &ArgMatches) -> Result<()> {
    let (mut path, mut leaf) = (Vec::new(), matches);
    while let Some((name, inner)) = leaf.subcommand() {
        path.push(name);
        leaf = inner;
    }
    let path = path.join(" ");
    let asks = COMMANDS.iter().any(|(name, asks)| *name == path && matches!(asks, Asks::Yes | Asks::Name));
    let given = |option: &&str| leaf.try_get_one::<bool>(option).is_ok_and(|given| given == Some(&true));
    if !asks || WITHOUT_QUESTION.iter().any(given) || stdin().is_terminal() {
        return Ok(());
    }
    Err(no_terminal(&format!("`lap {path}`"), "--yes"))
}

/// Asks a question that is answered with yes or no. Everything but a clear yes is a no.
pub fn yes(question: &str, option: &str) -> Result<bool> {
    Ok(is_yes(&answer(&format!("{question} [y/N]"), option)?))
}

/// What a command says after a no.
pub fn cancelled() -> Error {
    Error::new(Kind::Interrupted, "you answered no; nothing has changed")
}

/// Asks and returns the answer, without white space around it. `option` answers where there is no terminal.
fn answer(question: &str, option: &str) -> Result<String> {
    if !stdin().is_terminal() {
        return Err(no_terminal("the command", option));
    }
    errln!("{question}");
    let mut answer = String::new();
    stdin().read_line(&mut answer).or_error(Kind::Host, || "cannot read the answer".into())?;
    Ok(answer.trim().to_owned())
}

fn no_terminal(what: &str, option: &str) -> Error {
    Error::new(Kind::Usage, format!("{what} asks for confirmation, and there is no terminal"))
        .hint(format!("answer the question with `{option}`"))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Command;

    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert!(["y", "Y", "yes", "YES", "Yes"].into_iter().all(is_yes));
        assert!(!["", "n", "no", "yess", "ye", "j"].into_iter().any(is_yes));
    }

    /// Each command that runs by itself, by its words after `lap`; without those that are not for people.
    fn commands(command: &Command, before: &str, out: &mut BTreeMap<String, Command>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let path = format!("{before} {}", verb.get_name()).trim().to_owned();
            if !verb.is_subcommand_required_set() {
                out.insert(path.clone(), verb.clone());
            }
            commands(verb, &path, out);
        }
    }

    #[test]
    fn each_command_has_a_decision_and_the_option_that_it_needs() {
        let mut there = BTreeMap::new();
        commands(&crate::cli::command(), "", &mut there);
        let decided: BTreeMap<&str, Asks> = COMMANDS.iter().copied().collect();
        assert_eq!(decided.len(), COMMANDS.len(), "a command has two decisions");
        for (path, command) in &there {
            let asks = decided.get(path.as_str());
            let asks = asks.unwrap_or_else(|| panic!("`lap {path}` has no decision in `COMMANDS`: does it ask?"));
            let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
            assert_eq!(has("yes"), matches!(asks, Asks::Yes | Asks::Name), "`--yes` of `lap {path}`");
            assert_eq!(has("host_key"), *asks == Asks::HostKey, "`--host-key` of `lap {path}`");
            assert!(!has("confirm") && !has("force"), "`lap {path}` has another word for `--yes`");
        }
        let gone: Vec<_> = decided.keys().filter(|path| !there.contains_key(**path)).collect();
        assert!(gone.is_empty(), "no such commands: {gone:?}");
    }
}
