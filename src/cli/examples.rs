//! Two examples for each command: its help ends with them.

/// The command and its examples.
const EXAMPLES: [(&str, [&str; 2]); 29] = [
    ("init", ["lap init ~/lab", "lap init --name office ."]),
    ("doctor", ["lap doctor", "lap doctor --conformance --provider docker"]),
    ("up", ["lap up", "lap up --all --dry-run"]),
    ("down", ["lap down", "lap down prod --wait"]),
    ("start", ["lap start", "lap start prod/git"]),
    ("stop", ["lap stop cache", "lap stop prod --dry-run"]),
    ("restart", ["lap restart git", "lap restart prod/git prod/dns"]),
    ("image", ["lap image build test/git", "lap image seed debian:12 --environment test"]),
    ("status", ["lap status", "lap status prod --json"]),
    ("check", ["lap check", "lap check prod/git"]),
    ("logs", ["lap logs --follow git", "lap logs prod/git --tail 100"]),
    ("exec", ["lap exec git -- ls /data", "lap exec prod/registry -- registry --version"]),
    ("ssh", ["lap ssh", "lap ssh prod -- df -h /data"]),
    ("node", ["lap node list", "lap node add office admin@192.168.0.5 --environment prod"]),
    ("host", ["lap host install", "lap host install office2 --dry-run"]),
    ("destroy", ["lap destroy test", "lap destroy test --yes"]),
    ("snapshot", ["lap snapshot --note \"before the upgrade\"", "lap snapshot list prod"]),
    ("restore", ["lap restore latest", "lap restore latest prod --only git"]),
    ("repository", ["lap repository init office", "lap repository passphrase"]),
    ("recover", ["lap recover --from /srv/backup/lap", "lap recover --drill prod --from office"]),
    ("promote", ["lap promote --dry-run", "lap promote --yes --settle 30s"]),
    ("rollback", ["lap rollback", "lap rollback 3 --keep-data"]),
    ("release", ["lap release diff 3 4", "lap release ledger verify"]),
    ("prune", ["lap prune prod --dry-run", "lap prune prod --brief"]),
    ("keys", ["lap keys export lab-keys.age", "sudo lap keys trust"]),
    ("dns", ["lap dns list", "lap dns add printer A 192.168.0.40"]),
    ("completions", ["lap completions bash", "lap completions fish"]),
    ("man", ["lap man ~/.local/share/man/man1", "lap man man1"]),
    ("help", ["lap help snapshot list", "lap help lap.toml"]),
];

/// The examples of a command, as its help shows them.
pub fn of(command: &str) -> Option<String> {
    let [one, two] = lines(command)?;
    Some(format!("Examples:\n  {one}\n  {two}"))
}

/// The examples of a command.
pub fn lines(command: &str) -> Option<&'static [&'static str; 2]> {
    EXAMPLES.iter().find(|(name, _)| *name == command).map(|(_, examples)| examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_two_that_parse() {
        let command = crate::cli::command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            let found = EXAMPLES.iter().find(|(command, _)| *command == name);
            let (_, examples) = found.unwrap_or_else(|| panic!("`{name}` has no examples"));
            assert_ne!(examples[0], examples[1]);
            for example in examples {
                let words = shell_words(example.trim_start_matches("sudo "));
                assert_eq!(words[..2], ["lap", name], "{example}");
                if let Err(error) = command.clone().try_get_matches_from(&words) {
                    assert!(!error.use_stderr(), "{example}: {error}");
                }
            }
        }
        assert_eq!(EXAMPLES.len(), command.get_subcommands().filter(|verb| !verb.is_hide_set()).count());
    }

    /// As a shell splits it; double quotes only.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (nth, part) in line.split('"').enumerate() {
            if nth % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }
}
