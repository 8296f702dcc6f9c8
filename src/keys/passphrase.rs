//! The passphrase of a key export: from a file, a variable that names a file, or a prompt; never from the command line,
//! where every user of the machine could read it.

use std::{fs, path::Path};

use lap_base::{Error, Kind, Result, secret::Secret};

/// The variable that names a file with the passphrase.
const VARIABLE: &str = "LAP_PASSPHRASE_FILE";
const SHORTEST: usize = 8;

/// Asks at the terminal, without echo. The argument is what to ask for.
pub type Prompt<'a> = &'a mut dyn FnMut(&str) -> Result<Secret>;

/// A passphrase that is long enough. Never printed.
#[derive(Clone, Debug)]
pub struct Passphrase(Secret);

impl Passphrase {
    /// Checks a passphrase.
    ///
    /// # Errors
    /// [`Kind::Keys`] when it is empty, shorter than 8 characters, or more than one line.
    pub fn new(secret: Secret) -> Result<Self> {
        let text = secret.expose();
        let wrong = |what: String| Err(Error::new(Kind::Keys, what));
        if text.trim().is_empty() {
            return wrong("the passphrase is empty".into());
        }
        if text.chars().any(char::is_control) {
            // Nobody could type it at the prompt of stock `age`.
            return wrong("the passphrase has control characters or more than one line".into());
        }
        if text.chars().count() < SHORTEST {
            return wrong(format!("the passphrase is shorter than {SHORTEST} characters"));
        }
        Ok(Self(secret))
    }

    /// Reads a file with the passphrase in its only line (the line's end does not belong to it).
    ///
    /// # Errors
    /// [`Kind::Keys`] when it cannot be read, or as [`Passphrase::new`].
    pub fn from_file(path: &Path) -> Result<Self> {
        let what = format!("cannot read passphrase file `{}`", path.display());
        let text = fs::read_to_string(path).map_err(|e| Error::new(Kind::Keys, format!("{what}: {e}")))?;
        let secret = Secret::new(text);
        let line = secret.expose().strip_suffix('\n').unwrap_or(secret.expose());
        let line = line.strip_suffix('\r').unwrap_or(line);
        Self::new(Secret::new(line.to_owned()))
            .map_err(|e| Error::new(e.kind, format!("passphrase file `{}`: {e}", path.display())))
    }

    /// Takes the first there is: `--passphrase-file`, the value of `LAP_PASSPHRASE_FILE`, the prompt (`None` without a
    /// terminal). A new passphrase (`new`) is asked for twice.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none of them; [`Kind::Keys`] when it is not usable or typed differently.
    pub fn resolve(
        flag: Option<&Path>,
        variable: Option<&Path>,
        prompt: Option<Prompt<'_>>,
        new: bool,
    ) -> Result<Self> {
        if let Some(path) = flag.or(variable.filter(|v| !v.as_os_str().is_empty())) {
            return Self::from_file(path);
        }
        let Some(ask) = prompt else {
            return Err(Error::new(Kind::Usage, "a passphrase is needed, and there is no terminal to type it")
                .hint(format!("use `--passphrase-file FILE`, or set `{VARIABLE}`")));
        };
        let passphrase = Self::new(ask("Passphrase")?)?;
        if new && ask("The same passphrase again")? != passphrase.0 {
            return Err(Error::new(Kind::Keys, "the two passphrases differ"));
        }
        Ok(passphrase)
    }

    /// For the one place that opens something with it.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// As the age crate wants it.
    pub(super) fn for_age(&self) -> age::secrecy::SecretString {
        age::secrecy::SecretString::from(self.0.expose().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn short_empty_and_untypable_ones_are_refused() {
        for wrong in ["", "        ", "1234567", "äöüß567", "line one\nline two", "tab\tstops here"] {
            let error = Passphrase::new(secret(wrong)).unwrap_err();
            assert_eq!(error.kind, Kind::Keys);
            assert!(wrong.trim().is_empty() || !error.message.contains(wrong));
        }
        assert!(Passphrase::new(secret("12345678")).is_ok());
    }

    #[test]
    fn file_before_variable_before_prompt() {
        let dir = tempfile::tempdir().unwrap();
        let (flag, variable) = (dir.path().join("flag"), dir.path().join("variable"));
        fs::write(&flag, "from the flag\r\n").unwrap();
        fs::write(&variable, "from the variable\n").unwrap();
        let mut ask = |_: &str| Ok(secret("from the prompt"));
        let got = |p: Passphrase| p.0.expose().to_owned();
        assert_eq!(
            got(Passphrase::resolve(Some(&flag), Some(&variable), Some(&mut ask), true).unwrap()),
            "from the flag"
        );
        assert_eq!(got(Passphrase::resolve(None, Some(&variable), Some(&mut ask), true).unwrap()), "from the variable");
        assert_eq!(got(Passphrase::resolve(None, None, Some(&mut ask), true).unwrap()), "from the prompt");
        assert_eq!(Passphrase::resolve(None, None, None, true).unwrap_err().kind, Kind::Usage);
        assert!(Passphrase::from_file(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_new_one_is_asked_for_twice() {
        let mut answers = ["first answer", "other answer"].into_iter();
        let mut ask = |_: &str| Ok(secret(answers.next().unwrap()));
        assert!(Passphrase::resolve(None, None, Some(&mut ask), true).is_err());
    }
}
