//! Values on the command line: each kind that is wrong gets one sentence that says how to write it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// A value of this type, or the sentence that says how to write one.
fn parsed<T: FromStr>(text: &str, how: &str) -> Result<T, String> {
    text.parse().map_err(|_| how.to_owned())
}

/// The number of a release.
pub fn release(text: &str) -> Result<u64, String> {
    parsed(text, "write the number of a release, e.g. `3`")
}

/// How many of something.
pub fn count(text: &str) -> Result<usize, String> {
    parsed(text, "write a whole number, e.g. `100`")
}

/// Seconds that a name server may remember a record (RFC 2181, section 8).
pub fn ttl(text: &str) -> Result<u32, String> {
    let how = "write seconds as a whole number of at most 2147483647, e.g. `60`";
    parsed(text, how).and_then(|ttl| if ttl <= 0x7fff_ffff { Ok(ttl) } else { Err(how.to_owned()) })
}

/// A port.
pub fn port(text: &str) -> Result<u16, String> {
    parsed(text, "write a port from 0 to 65535, e.g. `53`")
}

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Result<IpAddr, String> {
    parsed(text, "write an IP address, e.g. `192.168.0.5`")
}

/// An IPv4 address.
pub fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    parsed(text, "write an IPv4 address, e.g. `192.168.0.5`")
}

/// An address and a port.
pub fn socket(text: &str) -> Result<SocketAddr, String> {
    parsed(text, "write an IP address and a port, e.g. `127.0.0.1:9153`")
}

/// A time, as files of the workspace write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::config::value::duration::duration(text)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    /// What the standard library says of a value it cannot read.
    const RAW: [&str; 6] =
        ["invalid digit", "cannot parse", "too large to fit", "invalid IP", "invalid IPv4", "invalid socket"];
    const NONSENSE: [&str; 4] = ["no!such", "", "-1", "99999999999999999999999"];

    /// A command line of this command with `value` for the argument `of`, and `1` for each other that has to be there.
    fn line(path: &[&str], command: &Command, of: &Arg, value: &str) -> Vec<String> {
        let mut words: Vec<String> = path.iter().map(|word| (*word).to_owned()).collect();
        let mut positional: Vec<&Arg> = command.get_positionals().collect();
        positional.sort_by_key(|arg| arg.get_index());
        for arg in command.get_opts().filter(|arg| arg.is_required_set() && arg.get_id() != of.get_id()) {
            words.push(format!("--{}=127.0.0.1", arg.get_long().unwrap_or_default()));
        }
        if let Some(long) = of.get_long() {
            words.push(format!("--{long}={value}"));
        }
        words.push("--".to_owned());
        let last = positional.iter().position(|arg| arg.get_id() == of.get_id());
        for (nth, arg) in positional.iter().enumerate() {
            if last == Some(nth) {
                words.push(value.to_owned());
            } else if arg.is_required_set() || last.is_some_and(|last| nth < last) {
                words.push("1".to_owned());
            }
        }
        words
    }

    fn each(path: &[&str], command: &Command, tried: &mut usize) {
        for inner in command.get_subcommands() {
            each(&[path, &[inner.get_name()]].concat(), inner, tried);
        }
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values() && !arg.is_global_set()) {
            for value in NONSENSE {
                let line = line(path, command, arg, value);
                if let Err(error) = crate::cli::command().try_get_matches_from(&line) {
                    let said = error.to_string();
                    let raw = RAW.iter().find(|raw| said.contains(**raw));
                    assert_eq!(raw, None, "{line:?}: {said}");
                    *tried += usize::from(said.contains("invalid value"));
                }
            }
        }
    }

    #[test]
    fn no_value_gets_a_message_of_the_standard_library() {
        let mut tried = 0;
        each(&["lap"], &crate::cli::command(), &mut tried);
        assert!(tried > 20, "only {tried} values were refused: this test checks nothing");
    }

    #[test]
    fn the_sentence_says_how_to_write_it() {
        let error =
            crate::cli::command().try_get_matches_from(["lap", "release", "show", "x"]).unwrap_err().to_string();
        let want = "error: invalid value 'x' for '<RELEASE>': write the number of a release, e.g. `3`\n";
        assert!(error.starts_with(want), "{error}");
        assert!(super::ttl("2147483648").is_err() && super::ttl("2147483647").is_ok());
    }
}
