//! Our part of a text file: lines between two comments that name the lab.

/// What is left of a text without our part.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of ours is in it.
    None,
    /// Our part, and what is left without it.
    Clean { part: Vec<u8>, rest: Vec<u8> },
    /// The comments are there, but not once each: which lines are ours cannot be said.
    Unclear,
}

/// Our part with its comments; `mark` begins a comment in this kind of file.
pub fn block(lab: &str, mark: char, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{} (`lap dns install --undo` takes these lines out)\n{body}{}\n", begin(lab, mark), end(lab, mark))
}

/// Takes our part out.
pub fn cut(text: &[u8], lab: &str) -> Cut {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let places = |wanted: &dyn Fn(&[u8]) -> bool| -> Vec<usize> {
        lines.iter().enumerate().filter(|(_, line)| wanted(line.trim_ascii())).map(|(n, _)| n).collect()
    };
    let begins = places(&|line| ['#', ';'].iter().any(|m| line.starts_with(begin(lab, *m).as_bytes())));
    let ends = places(&|line| ['#', ';'].iter().any(|m| line == end(lab, *m).as_bytes()));
    match (begins[..].as_ref(), ends[..].as_ref()) {
        ([], []) => Cut::None,
        ([begin], [end]) if begin < end => Cut::Clean {
            part: lines[*begin..=*end].concat(),
            rest: [&lines[..*begin], &lines[end + 1..]].concat().concat(),
        },
        _ => Cut::Unclear,
    }
}

fn begin(lab: &str, mark: char) -> String {
    format!("{mark} lap {lab}: begin")
}

fn end(lab: &str, mark: char) -> String {
    format!("{mark} lap {lab}: end")
}
