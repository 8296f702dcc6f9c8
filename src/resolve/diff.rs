//! A change of a file as `diff -u` would show it, without the context.

/// The lines of a text, without their ends.
pub fn lines_of(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Removed lines with `-`, added ones with `+`: all between the first and the last line that differ.
pub fn diff(from: &str, to: &str) -> Vec<String> {
    let (old, new) = (lines_of(from), lines_of(to));
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let removed = old[..old.len() - tail].iter().map(|line| format!("- {line}"));
    let added = new[..new.len() - tail].iter().map(|line| format!("+ {line}"));
    removed.chain(added).collect()
}
