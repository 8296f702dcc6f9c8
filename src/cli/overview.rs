//! The first page of help: all commands in six groups, a line each; and the words that people type by habit.

use clap::Command;

/// The groups and their commands, in the order of the page. A test compares them with the commands that there are.
pub const GROUPS: [(&str, &[(&str, &str)]); 6] = [
    (
        "start",
        &[
            ("init", "Write a new workspace, with keys"),
            ("doctor", "Check this machine and the workspace; test it as a node"),
            ("up", "Bring an environment up to date with the workspace"),
            ("status", "Show what runs, and whether it is healthy"),
        ],
    ),
    (
        "run",
        &[
            ("start", "Start the containers that ran last"),
            ("stop", "Stop and remove containers; their data stays"),
            ("restart", "Replace containers with new ones from the same images"),
            ("down", "Stop an environment: containers, then nodes"),
            ("logs", "Show the output of a container"),
            ("exec", "Run a command in a container"),
            ("ssh", "Open a shell or run a command on a node"),
            ("check", "Run the checks of the containers"),
        ],
    ),
    (
        "release",
        &[
            ("promote", "Make the tested commit the release of another environment"),
            ("rollback", "Go back to an earlier release"),
            ("release", "List, show and compare releases; show their ledger"),
        ],
    ),
    (
        "data",
        &[
            ("snapshot", "Take, list, compare, copy and remove snapshots"),
            ("restore", "Restore data from a snapshot"),
            ("recover", "Recover a lab from a repository; test whether that works"),
            ("repository", "Make the repositories that snapshots are copied to"),
            ("prune", "Remove unused releases, images and files"),
        ],
    ),
    ("team", &[("keys", "Make, list, export, import and trust the keys of the lab")]),
    (
        "machines",
        &[
            ("node", "List, add and prepare machines"),
            ("host", "Prepare hosts that run nodes as virtual machines"),
            ("dns", "List, change and check names; use the name server here"),
            ("destroy", "Remove the nodes of an environment with all their data"),
        ],
    ),
];

/// Words of other tools, and the command that does it here.
const HABITS: [(&str, &str); 8] = [
    (
        "deploy",
        "`lap up` brings an environment up to date; `lap promote` makes the tested commit the release of production",
    ),
    ("ps", "`lap status` shows what runs"),
    ("ls", "`lap status` shows what runs"),
    ("scale", "`scale` in a container.toml says whether a container runs; `lap up` applies it"),
    ("secret", "lap makes the secrets of its containers; `secrets` in a container.toml names them"),
    ("backup", "`lap snapshot copy` copies a snapshot into a repository"),
    ("run", "`lap exec CONTAINER -- COMMAND` runs a command in a container; `lap start` starts containers"),
    (
        "diff",
        "`lap up --dry-run` compares the workspace with the nodes; `lap snapshot diff` and `lap release diff` compare their own",
    ),
];

/// What the last line of each command's help says.
pub const MORE: &str = "Options of every command: `lap help options`";

/// The layout of the first page.
pub const TEMPLATE: &str = "{about}\n\n{usage-heading} lap [OPTIONS] <COMMAND>{after-help}";

/// The groups, as they are printed.
pub fn page() -> String {
    let mut out = String::new();
    for (group, commands) in GROUPS {
        for (nth, (name, does)) in commands.iter().enumerate() {
            let group = if nth == 0 { group } else { "" };
            out += &format!("{group:<9} {name:<12} {does}\n");
        }
        out.push('\n');
    }
    out + "`lap help COMMAND` explains a command, `lap help reference` all of them.\n\
           `lap completions SHELL` and `lap man DIRECTORY` write completions and man pages.\n"
        + super::help::TOPICS
}

/// The command that does what a word of another tool says.
pub fn instead_of(word: &str) -> Option<&'static str> {
    HABITS.iter().find(|(habit, _)| *habit == word).map(|(_, instead)| *instead)
}

/// Has the help of each command end with examples and with where the options of every command are explained.
pub fn finish(command: Command) -> Command {
    fn more(command: Command) -> Command {
        command.mut_subcommands(more).after_help(MORE)
    }
    command.mut_subcommands(|verb| {
        let verb = more(verb);
        let examples = super::examples::of(verb.get_name());
        verb.after_help(examples.map_or_else(|| MORE.to_owned(), |examples| format!("{examples}\n\n{MORE}")))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Commands that help to use the others: the last lines name them.
    const BESIDE: [&str; 4] = ["completions", "help", "image", "man"];

    #[test]
    fn each_command_stands_in_one_group() {
        let listed: Vec<&str> =
            GROUPS.iter().flat_map(|(_, commands)| commands.iter().map(|(name, _)| *name)).collect();
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len(), "a command stands in two groups");
        let command = crate::cli::command();
        let there: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(Command::get_name)
            .filter(|name| !BESIDE.contains(name))
            .collect();
        assert_eq!(unique, there);
    }

    #[test]
    fn the_page_fits_a_terminal() {
        for line in page().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(page().lines().count() <= 48, "one calm page");
    }

    #[test]
    fn a_habit_is_no_command() {
        let command = crate::cli::command();
        for (word, _) in HABITS {
            assert!(command.find_subcommand(word).is_none(), "`{word}` is a command");
        }
    }
}
