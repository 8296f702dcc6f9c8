//! Writing to stdout and stderr. Unlike `println!`, a reader that went away (`lap status | head -1`) is no reason to
//! fall over in the middle of the work.

use std::{
    fmt,
    io::{self, Write},
};

/// Data, to stdout.
pub fn to_out(text: fmt::Arguments<'_>) {
    let _ = io::stdout().lock().write_fmt(text);
}

/// Talk, to stderr.
pub fn to_err(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
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
