//! The tokens of a Rust file: only as much of the language as paths and items need.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Ident(String),
    /// `::`
    Colons,
    /// Text in quotes; its escapes are not resolved.
    Text(String),
    Punct(char),
}

impl Token {
    pub fn is(&self, c: char) -> bool {
        *self == Self::Punct(c)
    }

    pub fn ident(&self) -> Option<&str> {
        match self {
            Self::Ident(name) => Some(name),
            _ => None,
        }
    }
}

/// Comments, numbers and lifetimes are left out.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let c = get(at);
        if c.is_whitespace() {
            at += 1;
        } else if c == '/' && get(at + 1) == '/' {
            while at < chars.len() && get(at) != '\n' {
                at += 1;
            }
        } else if c == '/' && get(at + 1) == '*' {
            at = after_block_comment(&chars, at);
        } else if let Some((text, after)) = raw_text(&chars, at) {
            out.push(Token::Text(text));
            at = after;
        } else if c == '"' || (matches!(c, 'b' | 'c') && get(at + 1) == '"') {
            let begin = if c == '"' { at + 1 } else { at + 2 };
            at = begin;
            while at < chars.len() && get(at) != '"' {
                at += if get(at) == '\\' { 2 } else { 1 };
            }
            out.push(Token::Text(chars[begin..at.min(chars.len())].iter().collect()));
            at += 1;
        } else if c == '\'' || (c == 'b' && get(at + 1) == '\'') {
            at = after_char_or_lifetime(&chars, if c == 'b' { at + 1 } else { at });
        } else if c.is_alphabetic() || c == '_' {
            let begin = at;
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
            out.push(Token::Ident(chars[begin..at].iter().collect()));
        } else if c.is_ascii_digit() {
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
        } else if c == ':' && get(at + 1) == ':' {
            out.push(Token::Colons);
            at += 2;
        } else {
            out.push(Token::Punct(c));
            at += 1;
        }
    }
    out
}

fn after_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
            (Some(_), _) => at += 1,
            (None, _) => return at,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// `r"…"`, `r#"…"#`, with `b` or `c` before it: the text and where the rest begins.
fn raw_text(chars: &[char], begin: usize) -> Option<(String, usize)> {
    let mut at = begin;
    if matches!(chars.get(at), Some('b' | 'c')) {
        at += 1;
    }
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    let first = at + 1;
    let ends = |at: usize| chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    let last = (first..chars.len()).find(|at| ends(*at))?;
    Some((chars[first..last].iter().collect(), last + 1 + hashes))
}

fn after_char_or_lifetime(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        // '\'' and '\u{1f600}'
        (Some('\\'), _) => {
            let rest = chars.iter().skip(at + 3).position(|c| *c == '\'');
            rest.map_or(chars.len(), |rest| at + 3 + rest + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => {
            let name = chars.iter().skip(at + 1).take_while(|c| c.is_alphanumeric() || **c == '_').count();
            at + 1 + name
        }
    }
}
