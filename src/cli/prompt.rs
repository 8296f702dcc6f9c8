//! Questions to the person at the terminal. Every verb that asks does it here.

use std::io::{IsTerminal, stdin};

use crate::{
    error::{Error, Kind, OrError, Result},
    report::print::errln,
};

/// Asks and returns the answer, without white space around it. Without a terminal there is no answer: the command is
/// refused with `refusal`, and `hint` names the option that answers the question.
pub fn answer(question: &str, refusal: &str, hint: &str) -> Result<String> {
    if !stdin().is_terminal() {
        return Err(Error::new(Kind::Refused, format!("{refusal}, and there is no terminal")).hint(hint));
    }
    errln!("{question}");
    let mut answer = String::new();
    stdin().read_line(&mut answer).or_error(Kind::Host, || "cannot read the answer".into())?;
    Ok(answer.trim().to_owned())
}

/// Asks a question that is answered with yes or no. Everything but a clear yes is a no.
pub fn yes(question: &str, refusal: &str, hint: &str) -> Result<bool> {
    Ok(is_yes(&answer(&format!("{question} [y/N]"), refusal, hint)?))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert!(["y", "Y", "yes", "YES", "Yes"].into_iter().all(is_yes));
        assert!(!["", "n", "no", "yess", "ye", "j"].into_iter().any(is_yes));
    }
}
