//! The command line: the only place with clap. One verb a file: its arguments, whose docs are the help, and its `run`.

mod address;
mod agent;
mod check;
mod common;
mod completions;
mod confirm;
mod consent;
mod copies;
mod destroy;
mod dns;
mod doctor;
mod down;
mod examples;
mod exec;
mod global;
mod help;
mod host;
mod image;
mod init;
mod keys;
mod logs;
mod man;
mod moved;
mod node;
mod overview;
mod promote;
mod prune;
mod recover;
mod reference;
mod release;
mod repository;
mod restart;
mod restore;
mod rollback;
mod snapshot;
mod ssh;
mod start;
mod status;
mod stop;
mod tables;
mod up;
mod value;

use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

use clap::{
    FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use lap_base::error::{Error, Kind};
use lap_base::exit;

use self::global::Global;
use crate::report::print::headed;

/// A small, complete platform for a team, on its own hardware.
#[derive(Parser, Debug)]
#[command(name = "lap", version, max_term_width = 120, disable_help_subcommand = true)]
#[command(help_template = overview::TEMPLATE, after_help = overview::page())]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Init(init::Args),
    Doctor(doctor::Args),
    Up(up::Args),
    Down(down::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Image(image::Args),
    Status(status::Args),
    Check(check::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Ssh(ssh::Args),
    Node(node::Args),
    Host(host::Args),
    Destroy(destroy::Args),
    Snapshot(snapshot::Args),
    Restore(restore::Args),
    Repository(repository::Args),
    Recover(recover::Args),
    Promote(promote::Args),
    Rollback(rollback::Args),
    Release(release::Args),
    Prune(prune::Args),
    Keys(keys::Args),
    Dns(dns::Args),
    Agent(agent::Args),
    Completions(completions::Args),
    Man(man::Args),
    Help(help::Args),
}

/// Runs `lap` with these arguments and returns its exit code (see [`lap_base::exit`]).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&arguments);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(error) = moved::instead(&error, &arguments, &command()).or_else(|| habit(&error)) {
                show(&error);
                return ExitCode::from(exit::code(error.kind));
            }
            // Help and version come this way, too.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::code(Kind::Usage)) } else { ExitCode::SUCCESS };
        }
    };
    match confirm::check(&matches).and_then(|()| dispatch(cli)) {
        Ok(code) => code,
        Err(error) => {
            show(&error);
            ExitCode::from(exit::code(error.kind))
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Error> {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Init(args) => args.run(&global),
        Verb::Doctor(args) => args.run(&global),
        Verb::Up(args) => args.run(&global),
        Verb::Down(args) => args.run(&global),
        Verb::Start(args) => args.run(&global),
        Verb::Stop(args) => args.run(&global),
        Verb::Restart(args) => args.run(&global),
        Verb::Image(args) => args.run(&global),
        Verb::Status(args) => args.run(&global),
        Verb::Check(args) => args.run(&global),
        Verb::Logs(args) => args.run(&global),
        Verb::Exec(args) => args.run(&global),
        Verb::Ssh(args) => args.run(&global),
        Verb::Node(args) => args.run(&global),
        Verb::Host(args) => args.run(&global),
        Verb::Destroy(args) => args.run(&global),
        Verb::Snapshot(args) => args.run(&global),
        Verb::Restore(args) => args.run(&global),
        Verb::Repository(args) => args.run(&global),
        Verb::Recover(args) => args.run(&global),
        Verb::Promote(args) => args.run(&global),
        Verb::Rollback(args) => args.run(&global),
        Verb::Release(args) => args.run(&global),
        Verb::Prune(args) => args.run(&global),
        Verb::Keys(args) => args.run(&global),
        Verb::Dns(args) => args.run(&global),
        Verb::Agent(args) => args.run(),
        Verb::Completions(args) => args.run(command()),
        Verb::Man(args) => args.run(&command()),
        Verb::Help(args) => args.run(command()),
    }
}

/// The command line as clap sees it, for the generated reference and completions.
pub fn command() -> clap::Command {
    overview::finish(<Cli as clap::CommandFactory>::command())
}

/// A word of another tool gets the command that does it here, not the one that is spelt like it.
fn habit(error: &clap::Error) -> Option<Error> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let instead = overview::instead_of(word).filter(|_| error.kind() == ErrorKind::InvalidSubcommand)?;
    Some(Error::new(Kind::Usage, format!("there is no command `{word}`")).hint(instead))
}

/// `error: …`, then a hint a line. Colour says nothing that words do not.
fn show(error: &Error) {
    let (bold, red, plain) = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        ("\x1b[1m", "\x1b[31m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    headed(&format!("{bold}{red}error:{plain}"), &error.message);
    for hint in &error.hints {
        headed(&format!("{bold}hint:{plain}"), hint);
    }
}
