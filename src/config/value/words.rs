//! A command line as a list of words, by the shell's rules for quotes, without any expansion.

use crate::config::problem::shown;

/// `a 'b c' "d e" f\ g` → four words.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let open = |quote: char| format!("{} has no closing `{quote}`: add it, or write a list of words", shown(text));
    let mut words = Vec::new();
    // `None` between words: `''` is a word too.
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => {
                let next = chars.next().ok_or_else(|| format!("{} ends in a backslash: remove it", shown(text)))?;
                // Backslash and end of line join two lines.
                if next != '\n' {
                    word.get_or_insert_default().push(next);
                }
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open('\''))? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open('"'))? {
                        '"' => break,
                        '\\' => match chars.next().ok_or_else(|| open('"'))? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn words() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a  b ", &["a", "b"]),
            ("sh -c 'echo \"$HOME\" | cat'", &["sh", "-c", "echo \"$HOME\" | cat"]),
            (r#"a "b \"c\" \d" e\ f ''"#, &["a", r#"b "c" \d"#, "e f", ""]),
            ("x=\"1 2\"y", &["x=1 2y"]),
        ];
        for (text, want) in table {
            assert_eq!(split(text).unwrap(), *want, "{text}");
        }
        messages(
            split,
            &[
                ("echo 'a", "`echo 'a` has no closing `'`: add it, or write a list of words"),
                ("echo \"a", "`echo \"a` has no closing `\"`: add it, or write a list of words"),
                ("a\\", "`a\\` ends in a backslash: remove it"),
            ],
        );
    }
}
