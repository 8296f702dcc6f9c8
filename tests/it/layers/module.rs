//! What one module says: its items, its imports, and every path in its code. Code of tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::tokens::{Token, tokens};

/// One name of a `use` tree: `use a::{b as c, d::*}` has two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    /// The name here; `None` is `*`.
    pub name: Option<String>,
}

#[derive(Debug, Default)]
pub struct Source {
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths of two names and more.
    pub paths: BTreeSet<Vec<String>>,
    /// Paths in the texts of attributes: serde's `with = "path"` names a module and uses what is in it.
    pub texts: BTreeSet<Vec<String>>,
    /// Single names, for what a `*` imports.
    pub names: BTreeSet<String>,
    /// `mod x;`
    pub files: Vec<String>,
    /// `mod x { … }`
    pub inline: BTreeMap<String, Source>,
}

pub fn source(text: &str) -> Source {
    let mut out = Source::default();
    read(&tokens(text), &mut out);
    out
}

fn read(tokens: &[Token], out: &mut Source) {
    let mut at = 0;
    while at < tokens.len() {
        at = step(tokens, at, out);
    }
}

/// Reads what begins at `at`; returns where the next thing begins.
fn step(tokens: &[Token], at: usize, out: &mut Source) -> usize {
    let ident = |at: usize| tokens.get(at).and_then(Token::ident);
    let is = |at: usize, c: char| tokens.get(at).is_some_and(|token| token.is(c));
    if is(at, '#') && (is(at + 1, '[') || is(at + 1, '!')) {
        let open = if is(at + 1, '[') { at + 1 } else { at + 2 };
        let end = after_group(tokens, open);
        if of_tests(&tokens[open..end]) {
            return after_item(tokens, end);
        }
        attribute(&tokens[open..end], out);
        return end;
    }
    match ident(at) {
        Some("pub") if is(at + 1, '(') => after_group(tokens, at + 1),
        Some("use") => {
            let end = after(tokens, at, ';');
            tree(&tokens[at + 1..end - 1], &[], &mut out.imports);
            end
        }
        Some("mod") if ident(at + 1).is_some() && is(at + 2, ';') => {
            out.files.extend(ident(at + 1).map(str::to_owned));
            at + 3
        }
        Some("mod") if ident(at + 1).is_some() && is(at + 2, '{') => {
            let end = after_group(tokens, at + 2);
            let mut inner = Source::default();
            read(&tokens[at + 3..end - 1], &mut inner);
            out.inline.insert(ident(at + 1).unwrap_or_default().to_owned(), inner);
            end
        }
        Some("macro_rules") => {
            out.items.extend(ident(at + 2).map(str::to_owned));
            at + 3
        }
        Some("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union") => {
            let name = if ident(at + 1) == Some("mut") { at + 2 } else { at + 1 };
            if let Some(name) = ident(name) {
                out.items.insert(name.to_owned());
            }
            // What follows is read as code: it may name a type.
            at + 1
        }
        Some(first) => {
            let mut path = vec![first.to_owned()];
            let mut end = at + 1;
            while tokens.get(end) == Some(&Token::Colons) {
                let Some(next) = ident(end + 1) else { break };
                path.push(next.to_owned());
                end += 2;
            }
            // `x.name` is a field or a method; `::name` begins another crate's path.
            let whole = at == 0 || (!is(at - 1, '.') || is_range(tokens, at)) && tokens[at - 1] != Token::Colons;
            if whole {
                if path.len() > 1 {
                    out.paths.insert(path);
                } else {
                    out.names.insert(path.remove(0));
                }
            }
            end
        }
        None => at + 1,
    }
}

/// `..name`
fn is_range(tokens: &[Token], at: usize) -> bool {
    at >= 2 && tokens[at - 1].is('.') && tokens[at - 2].is('.')
}

/// `serde(with = "path")`: text in an attribute may be a path.
fn attribute(tokens: &[Token], out: &mut Source) {
    for token in tokens {
        let Token::Text(text) = token else { continue };
        let parts: Vec<String> = text.split("::").map(str::to_owned).collect();
        let named = |part: &String| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if parts.iter().all(named) {
            out.names.extend(parts.first().filter(|_| parts.len() == 1).cloned());
            out.texts.insert(parts);
        }
    }
    let mut inner = Source::default();
    let code: Vec<Token> = tokens.iter().filter(|token| !token.is('#')).cloned().collect();
    read(&code, &mut inner);
    out.paths.extend(inner.paths);
    out.names.extend(inner.names);
}

/// `[cfg(test)]`, `[cfg(all(test, …))]`, `[test]`, `[tokio::test]`.
fn of_tests(attribute: &[Token]) -> bool {
    let names: Vec<&str> = attribute.iter().filter_map(Token::ident).collect();
    match names.as_slice() {
        ["cfg", "test"] => true,
        ["cfg", "all", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        _ => false,
    }
}

fn after(tokens: &[Token], from: usize, c: char) -> usize {
    tokens[from..].iter().position(|token| token.is(c)).map_or(tokens.len(), |at| from + at + 1)
}

/// Where the group that opens at `open` has ended.
fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Punct('(' | '[' | '{') => depth += 1,
            Token::Punct(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Where the item that begins at `at` has ended: its further attributes, up to `;`, `,` or its body.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let imports = tokens[at..].iter().take(6).any(|token| token.ident() == Some("use"));
    while at < tokens.len() {
        match &tokens[at] {
            Token::Punct(';' | ',') => return at + 1,
            // The end of what the item stands in.
            Token::Punct('}' | ')' | ']') => return at,
            Token::Punct('{') if !imports => return after_group(tokens, at),
            Token::Punct('(' | '[' | '{') => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The names of a `use` tree.
fn tree(tokens: &[Token], before: &[String], out: &mut Vec<Import>) {
    let mut path = before.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Ident(word) if word == "as" => {
                let name = tokens.get(at + 1).and_then(Token::ident).map(str::to_owned);
                // `as _` is a trait whose name nothing says.
                out.push(Import { path: whole(path), name: Some(name.unwrap_or_default()) });
                return;
            }
            Token::Ident(word) => path.push(word.clone()),
            Token::Punct('*') => {
                out.push(Import { path, name: None });
                return;
            }
            Token::Punct('{') => {
                let inner = &tokens[at + 1..after_group(tokens, at) - 1];
                for part in parts(inner) {
                    tree(part, &path, out);
                }
                return;
            }
            _ => {}
        }
        at += 1;
    }
    let path = whole(path);
    if let Some(name) = path.last().cloned() {
        out.push(Import { path, name: Some(name) });
    }
}

/// `a::{self}` is `a`.
fn whole(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    path
}

/// What commas separate at the group's own level.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut out, mut begin, mut depth) = (Vec::new(), 0, 0usize);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Punct('{') => depth += 1,
            Token::Punct('}') => depth -= 1,
            Token::Punct(',') if depth == 0 => {
                out.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    out.push(&tokens[begin..]);
    out.into_iter().filter(|part| !part.is_empty()).collect()
}
