//! Words of earlier versions of lap: each gets an error that names the command of today, with the arguments that were typed.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use lap_base::error::{Error, Kind};

use crate::drivers::stock_ssh::quoted;

/// The old words and the new ones. Of two that begin alike, the longer stands first.
const MOVED: [(&[&str], &[&str]); 7] = [
    (&["ledger"], &["release", "ledger"]),
    (&["build"], &["image", "build"]),
    (&["plan"], &["up", "--dry-run"]),
    (&["trust", "install"], &["keys", "trust"]),
    (&["trust"], &["keys", "trust"]),
    (&["drill"], &["recover", "--drill"]),
    (&["conformance"], &["doctor", "--conformance"]),
];

/// The error for a command line with an old word; `None`: clap's own error stands.
pub fn instead(error: &clap::Error, arguments: &[OsString], command: &clap::Command) -> Option<Error> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument && context(ContextKind::InvalidArg) == Some("--confirm") {
        let message = "there is no option `--confirm`";
        return Some(Error::new(Kind::Usage, message).hint("`--yes` answers the question of a command that asks"));
    }
    let word = context(ContextKind::InvalidSubcommand).filter(|_| error.kind() == ErrorKind::InvalidSubcommand)?;
    let new = now(word)?;
    let line = MOVED.iter().find_map(|(old, new)| rewritten(old, new, arguments, command));
    let hint = line.unwrap_or_else(|| format!("`lap {new}`: see `lap {new} --help`"));
    Some(Error::new(Kind::Usage, format!("there is no command `{word}`")).hint(hint))
}

/// The command of today for an old word.
pub fn now(word: &str) -> Option<String> {
    MOVED.iter().find(|(old, _)| old[0] == word).map(|(_, new)| new.join(" "))
}

/// The command line with the new words instead of the old, if it is a right one.
fn rewritten(old: &[&str], new: &[&str], arguments: &[OsString], command: &clap::Command) -> Option<String> {
    (1..arguments.len()).find_map(|at| {
        let rest = arguments[at..].get(..old.len())?;
        if rest != old {
            return None;
        }
        let words = ["lap".into()].into_iter().chain(arguments[1..at].iter().cloned());
        let words = words.chain(new.iter().map(OsString::from)).chain(arguments[at + old.len()..].iter().cloned());
        let words: Vec<String> = words.map(OsString::into_string).collect::<Result<_, _>>().ok()?;
        command.clone().try_get_matches_from(&words).ok()?;
        Some(format!("`{}`", quoted(&words).join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = super::super::command().try_get_matches_from(&arguments).unwrap_err();
        instead(&error, &arguments, &super::super::command())
            .unwrap_or_else(|| panic!("{line}: {error}"))
            .hints
            .join("\n")
    }

    #[test]
    fn an_old_word_gets_the_command_line_of_today() {
        for (old, new) in [
            ("lap ledger", "`lap release ledger`"),
            ("lap ledger verify 12ab", "`lap release ledger verify 12ab`"),
            ("lap ledger --env prod --json", "`lap release ledger --env prod --json`"),
            ("lap build test git --wait", "`lap image build test git --wait`"),
            ("/usr/bin/lap plan prod --json", "`lap up --dry-run prod --json`"),
            ("lap -C plan plan", "`lap -C plan up --dry-run`"),
            ("lap trust install --undo", "`lap keys trust --undo`"),
            ("lap trust", "`lap keys trust`"),
            ("lap drill prod --from office", "`lap recover --drill prod --from office`"),
            ("lap conformance --provider libvirt", "`lap doctor --conformance --provider libvirt`"),
            // Not a right command line, so only the command is named.
            ("lap plan --nope", "`lap up --dry-run`: see `lap up --dry-run --help`"),
        ] {
            assert_eq!(hint(old), new, "{old}");
        }
    }

    #[test]
    fn an_old_word_is_no_command() {
        let command = crate::cli::command();
        for (old, new) in MOVED {
            assert!(command.find_subcommand(old[0]).is_none(), "`{}` is a command", old[0]);
            assert!(command.find_subcommand(new[0]).is_some(), "`{}` is no command", new[0]);
        }
    }
}
