//! `lap man`: manual pages out of the definitions that are the help, too.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use lap_base::exit;
use lap_base::{
    error::{Kind, OrError, Result},
    words::plural,
};

use super::examples;
use crate::report::print::outln;

/// Write the manual pages, one for each command
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Their directory, e.g. `~/.local/share/man/man1`; created if it does not exist
    directory: PathBuf,
}

impl Args {
    pub fn run(self, command: &Command) -> Result<ExitCode> {
        let shown = self.directory.display();
        fs::create_dir_all(&self.directory).or_error(Kind::Host, || format!("cannot make `{shown}`"))?;
        let pages = pages(command).or_error(Kind::Other, || "cannot write a manual page".into())?;
        for (name, text) in &pages {
            let path = self.directory.join(name);
            fs::write(&path, text).or_error(Kind::Host, || format!("cannot write `{}`", path.display()))?;
        }
        outln!("{} in `{shown}`: `man lap` explains where to begin.", plural(pages.len(), "page"));
        Ok(ExitCode::SUCCESS)
    }
}

/// The file name and the text of each page, `lap.1` last.
fn pages(lap: &Command) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut lap = lap.clone().disable_help_subcommand(true);
    lap.build();
    let mut out = Vec::new();
    page(&lap, &[], &mut out)?;
    Ok(out)
}

/// The pages of the commands below this one, then its own.
fn page(command: &Command, above: &[&str], out: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let inner = || command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let words: Vec<&str> = above.iter().copied().chain([command.get_name()]).collect();
    for command in inner() {
        page(command, &words, out)?;
    }
    let name = words.join("-");
    let top = above.is_empty();
    // The options of every command are on the first page only, as in the help.
    let shown = if top { command.clone().mut_args(|arg| arg.hide(false)) } else { command.clone() };
    let man =
        Man::new(shown).title(name.to_uppercase()).source(concat!("lap ", env!("CARGO_PKG_VERSION"))).manual("lap");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if top || command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if inner().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut end = Roff::new();
    if let Some(examples) = examples::lines(command.get_name()).filter(|_| above.len() == 1) {
        end.control("SH", ["EXAMPLES"]);
        end.control("nf", []);
        examples.iter().for_each(|example| {
            end.text([roman(*example)]);
        });
        end.control("fi", []);
    }
    if top {
        end.control("SH", ["EXIT STATUS"]);
        for (code, _, meaning) in exit::TABLE {
            end.control("TP", []);
            end.text([roman(code.to_string())]);
            end.text([roman(*meaning)]);
        }
    } else {
        end.control("SH", ["SEE ALSO"]);
        end.text([roman(match above {
            ["lap"] => "lap(1): all commands, and the options of every command".to_owned(),
            above => format!("{}(1): the command above this one; lap(1): options of every command", above.join("-")),
        })]);
    }
    end.to_writer(&mut text)?;
    out.push((format!("{name}.1"), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    fn names(command: &Command, before: &str, out: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = format!("{before} {}", verb.get_name());
            names(verb, &name, out);
            out.push(name);
        }
    }

    #[test]
    fn each_command_has_a_page_that_names_it() {
        let lap = crate::cli::command();
        let mut expected = vec!["lap".to_owned()];
        names(&lap, "lap", &mut expected);
        let mut pages = pages(&lap).unwrap();
        assert_eq!(pages.len(), expected.len());
        for command in &expected {
            let file = format!("{}.1", command.replace(' ', "-"));
            let at = pages.iter().position(|(name, _)| *name == file).unwrap_or_else(|| panic!("no {file}"));
            let text = String::from_utf8(pages.remove(at).1).unwrap();
            // roff writes a hyphen as `\-`.
            let plain = text.replace("\\-", "-");
            assert!(plain.contains(&format!(".TH {} 1", command.replace(' ', "-").to_uppercase())), "{plain}");
            for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
                assert!(plain.contains(part), "{file} has no {part}");
            }
            assert!(plain.contains(command.as_str()), "{file} does not name `{command}`:\n{plain}");
            assert!(!plain.lines().any(|line| line == "lap help options"), "{file}");
            // A line that begins with a dot is a request: each has to be one that man(7) knows.
            for line in text.lines().filter(|line| line.starts_with('.')) {
                let request = line[1..].split([' ', '\n']).next().unwrap_or_default();
                let known = ["TH", "SH", "SS", "TP", "IP", "RS", "RE", "PP", "br", "nf", "fi", "ie", "el", "ds"];
                assert!(known.contains(&request), "{file}: {line}");
            }
        }
        assert!(pages.is_empty(), "pages of no command: {:?}", pages.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }

    #[test]
    fn options_of_every_command_are_on_the_first_page_only() {
        for (name, text) in pages(&crate::cli::command()).unwrap() {
            let text = String::from_utf8(text).unwrap().replace("\\-", "-");
            assert_eq!(text.contains("--progress"), name == "lap.1", "{name}");
        }
    }

    #[test]
    fn man_takes_the_pages() {
        let lint = |program: &str| Process::new(program).arg("--version").output().is_ok();
        let dir = tempfile::tempdir().unwrap();
        // Where neither is installed, the structure is checked above.
        for (program, arguments) in
            [("mandoc", &["-T", "lint", "-W", "error"][..]), ("groff", &["-K", "utf8", "-man", "-ww", "-z"])]
        {
            if !lint(program) {
                continue;
            }
            for (name, text) in pages(&crate::cli::command()).unwrap() {
                let path = dir.path().join(name);
                fs::write(&path, text).unwrap();
                let output = Process::new(program).args(arguments).arg(&path).output().unwrap();
                assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
            }
        }
    }
}
