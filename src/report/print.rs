//! Writing to stdout and stderr. Unlike `println!`, a reader that went away (`lap status | head -1`) is no reason to
//! fall over in the middle of the work.
//!
//! Much of the text comes from nodes and containers: file names, the output of checks, records. A terminal would obey a control
//! sequence in it, and could then show something else than what lap asks or reports. So controls are printed as visible characters.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
};

use lap_base::words::is_invisible;

/// Data, to stdout.
pub fn to_out(text: fmt::Arguments<'_>) {
    let _ = io::stdout().lock().write_all(visible(&text.to_string()).as_bytes());
}

/// Talk, to stderr.
pub fn to_err(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_all(visible(&text.to_string()).as_bytes());
}

/// A line of talk that begins with a word in colour.
pub fn headed(coloured: &str, text: &str) {
    let _ = io::stderr().lock().write_all(format!("{coloured} {}\n", visible(text)).as_bytes());
}

/// JSON, to stdout: its strings have the same characters, escaped.
pub fn json(text: &str) {
    let text = escaped(text, |c, out| out.push_str(&format!("\\u{:04x}", u32::from(c))));
    let _ = io::stdout().lock().write_all(format!("{text}\n").as_bytes());
}

/// Text in which no character controls a terminal.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| {
        // The end of a line, as some programs write it.
        if c != '\r' {
            out.extend(c.escape_unicode());
        }
    })
}

/// Whether a terminal obeys it, shows what follows in another order, or shows nothing.
fn controls(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t') || is_invisible(c)
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if controls(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Prints to stdout.
macro_rules! out {
    ($($text:tt)*) => { $crate::report::print::to_out(format_args!($($text)*)) };
}

/// Prints a line to stdout.
macro_rules! outln {
    ($($text:tt)*) => { $crate::report::print::to_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to stderr.
macro_rules! errln {
    ($($text:tt)*) => { $crate::report::print::to_err(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {errln, out, outln};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_says_moves_no_cursor() {
        assert!(matches!(visible("as it is:\t\u{e4}, \u{1f600}\n"), Cow::Borrowed(_)));
        assert_eq!(visible("one\r\n\u{1b}[2Jtwo\u{8}\u{9b}1A"), "one\n\\u{1b}[2Jtwo\\u{8}\\u{9b}1A");
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
        let text = serde_json::to_string("\u{1b}\u{9b}\u{202e}").unwrap();
        let shown = escaped(&text, |c, out| out.push_str(&format!("\\u{:04x}", u32::from(c))));
        assert!(shown.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), "\u{1b}\u{9b}\u{202e}");
    }
}
