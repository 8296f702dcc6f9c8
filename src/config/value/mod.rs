//! One value, one file: from its text to its type, and what to say when it is wrong.
//!
//! Every parser gives "what is wrong: what would be right" as its error; the caller adds file, line and key.

pub mod address;
pub mod capability;
pub mod duration;
pub mod grant;
pub mod name;
pub mod path;
pub mod port;
pub mod public_key;
pub mod signal;
pub mod size;
pub mod volume;
pub mod words;

#[cfg(test)]
fn messages<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, String>, table: &[(&str, &str)]) {
    for (text, want) in table {
        assert_eq!(parse(text).unwrap_err(), *want, "{text:?}");
    }
}
