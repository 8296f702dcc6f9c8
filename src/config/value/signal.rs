//! The signal that stops a container.

use crate::config::problem::{did_you_mean, shown};

const SIGNALS: [&str; 8] = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGWINCH"];

/// `SIGTERM` or `TERM`; systemd's `SIGRTMIN+3` too.
pub fn signal(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if SIGNALS.contains(&full.as_str()) || full == "SIGRTMIN+3" {
        return Ok(full);
    }
    let guess = did_you_mean(&full, SIGNALS);
    let help = if guess.is_empty() { ": write e.g. `SIGTERM` or `SIGINT`" } else { &guess };
    Err(format!("{} is not a signal that stops a program{help}", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn signals() {
        assert_eq!(signal("term").unwrap(), "SIGTERM");
        assert_eq!(signal("SIGRTMIN+3").unwrap(), "SIGRTMIN+3");
        messages(
            signal,
            &[
                ("SIGTREM", "`SIGTREM` is not a signal that stops a program; did you mean `SIGTERM`?"),
                ("9", "`9` is not a signal that stops a program: write e.g. `SIGTERM` or `SIGINT`"),
            ],
        );
    }
}
