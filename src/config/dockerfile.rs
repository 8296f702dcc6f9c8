//! What a Dockerfile stands on: the images that `FROM`, `COPY --from=` and `RUN --mount=from=` name.
//!
//! Only as much of the format as that takes: comments, the escape directive, lines joined by it, here-documents,
//! stages, and variables of `ARG` before the first `FROM`.

use std::collections::{BTreeMap, BTreeSet};

/// Images with this prefix are built from `containers/<name>`.
pub const PREFIX: &str = "infra/";

/// An image that a Dockerfile names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// With variables replaced; e.g. `infra/base` or `debian:12`.
    pub image: String,
    /// From 1.
    pub line: usize,
}

/// What was found in a Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// In the file's order, without stages and `scratch`.
    pub bases: Vec<Base>,
    /// Lines that name no image, and why.
    pub problems: Vec<(usize, String)>,
}

impl Dockerfile {
    /// The containers of this lab whose images it takes; a tag does not count.
    pub fn parents(&self) -> BTreeSet<String> {
        self.bases.iter().filter_map(|base| parent(&base.image)).map(|(name, _)| name.to_owned()).collect()
    }

    /// The images that come from elsewhere.
    pub fn foreign(&self) -> impl Iterator<Item = &Base> {
        self.bases.iter().filter(|base| parent(&base.image).is_none())
    }
}

/// The container whose image this is, and what follows the name (a tag or digest).
pub fn parent(image: &str) -> Option<(&str, &str)> {
    let rest = image.strip_prefix(PREFIX)?;
    Some(rest.split_at(rest.find([':', '@']).unwrap_or(rest.len())))
}

/// Reads a Dockerfile; `args` are `build.args` of its `container.toml`.
pub fn parse(text: &str, args: &BTreeMap<String, String>) -> Dockerfile {
    let mut out = Dockerfile::default();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut count = 0;
    for (line, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        let Some(word) = words.next() else { continue };
        match word.to_ascii_uppercase().as_str() {
            "ARG" if count == 0 => words.for_each(|word| declare(word, args, &mut variables)),
            "FROM" => {
                let mut words = words.skip_while(|word| word.starts_with("--"));
                match words.next().map(|image| substitute(image, &variables)) {
                    Some(Ok(image)) => take(&mut out, &stages, image, line),
                    Some(Err(name)) => out.problems.push((
                        line,
                        format!(
                            "`{name}` has no value here: write `ARG {name}=…` before the first FROM, or `build.args`"
                        ),
                    )),
                    None => out.problems.push((line, "FROM names no image: write e.g. `FROM infra/base`".to_owned())),
                }
                stages.insert(count.to_string());
                if words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
                    stages.extend(words.next().map(str::to_lowercase));
                }
                count += 1;
            }
            "COPY" | "RUN" => {
                for image in words.take_while(|word| word.starts_with("--")).filter_map(from) {
                    // Docker replaces no variables here; what looks like one is no image.
                    if !image.contains('$') {
                        take(&mut out, &stages, image.to_owned(), line);
                    }
                }
            }
            _ => {}
        }
    }
    if count == 0 {
        out.problems.push((1, "no FROM: write e.g. `FROM infra/base` as the first instruction".to_owned()));
    }
    out
}

fn take(out: &mut Dockerfile, stages: &BTreeSet<String>, image: String, line: usize) {
    if image != "scratch" && !stages.contains(&image.to_lowercase()) {
        out.bases.push(Base { image, line });
    }
}

/// The image in `--from=IMAGE` or `--mount=type=bind,from=IMAGE,…`.
fn from(flag: &str) -> Option<&str> {
    if let Some(image) = flag.strip_prefix("--from=") {
        return Some(image);
    }
    flag.strip_prefix("--mount=")?.split(',').find_map(|option| option.strip_prefix("from="))
}

fn declare(word: &str, args: &BTreeMap<String, String>, variables: &mut BTreeMap<String, String>) {
    let (name, default) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let default = default.and_then(|value| substitute(value.trim_matches(['"', '\'']), variables).ok());
    if let Some(value) = args.get(name).cloned().or(default) {
        variables.insert(name.to_owned(), value);
    }
}

/// Replaces `$X`, `${X}`, `${X:-default}` and `${X:+value}`; the error is the name without a value.
fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (expression, after) = braced.unwrap_or_else(|| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest.split_at(end)
        });
        let end = expression.find([':', '-', '+']).unwrap_or(expression.len());
        let (name, modifier) = expression.split_at(end);
        let value = variables.get(name).filter(|value| !value.is_empty()).map(String::as_str);
        let word = modifier.trim_start_matches(':');
        match (word.chars().next(), value) {
            (Some('+'), Some(_)) => out.push_str(&word[1..]),
            (Some('+'), None) => {}
            (_, Some(value)) => out.push_str(value),
            (Some('-'), None) => out.push_str(&word[1..]),
            (_, None) => return Err(name.to_owned()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The instructions with their first lines: comments gone, joined lines joined, here-documents skipped.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text);
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut instruction = String::new();
        let mut line = first;
        loop {
            let trimmed = line.trim();
            // Comments and empty lines between joined lines do not end the instruction.
            let skipped = trimmed.starts_with('#') || (trimmed.is_empty() && !instruction.is_empty());
            let more = if skipped {
                !instruction.is_empty()
            } else {
                instruction.push_str(trimmed.strip_suffix(escape).unwrap_or(trimmed));
                instruction.push(' ');
                trimmed.ends_with(escape)
            };
            match more.then(|| lines.next()).flatten() {
                Some((_, next)) => line = next,
                None => break,
            }
        }
        for (end, tabs) in here_documents(&instruction) {
            for (_, line) in lines.by_ref() {
                if (if tabs { line.trim_start_matches('\t') } else { line }) == end {
                    break;
                }
            }
        }
        if !instruction.trim().is_empty() {
            out.push((number + 1, instruction));
        }
    }
    out
}

/// The character that joins lines: a directive in the first comments may change it.
fn escape(text: &str) -> char {
    for line in text.lines() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|directive| directive.split_once('=')) else {
            break;
        };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return '`';
        }
    }
    '\\'
}

/// The closing words of `<<EOF` and `<<-EOF`, and whether leading tabs are dropped before them.
fn here_documents(instruction: &str) -> Vec<(String, bool)> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let word = |word: &str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
        let end = rest.trim_matches(['"', '\'']);
        let good = !end.is_empty() && end.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        good.then(|| (end.to_owned(), tabs))
    };
    instruction.split_whitespace().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(text: &str, args: &[(&str, &str)]) -> Vec<(usize, String)> {
        let args = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        parse(text, &args).bases.into_iter().map(|base| (base.line, base.image)).collect()
    }

    #[test]
    fn finds_what_an_image_stands_on() {
        let table: &[(&str, &[(usize, &str)])] = &[
            ("FROM infra/base\n", &[(1, "infra/base")]),
            ("from --platform=$BUILDPLATFORM debian:12 AS x\nFROM x\nFROM 0\nFROM scratch\n", &[(1, "debian:12")]),
            ("# c\n\nFROM \\\n  # c\n\n  infra/base\nRUN a \\\n FROM b\n", &[(3, "infra/base")]),
            ("# escape=`\nFROM `\ninfra/base\nRUN dir c:\\\nFROM infra/web\n", &[(2, "infra/base"), (5, "infra/web")]),
            ("FROM scratch AS b\nCOPY --from=b /x /x\nCOPY --chown=1 --from=infra/tool / /\n", &[(3, "infra/tool")]),
            ("FROM scratch\nRUN --mount=type=bind,from=infra/x,target=/x cp\n", &[(2, "infra/x")]),
            ("FROM scratch\nRUN <<EOF cat <<-'B'\nFROM a\nEOF\n\tFROM b\n\tB\nFROM infra/c\n", &[(7, "infra/c")]),
            ("ARG V=12\nARG B=debian:$V\nFROM ${B}-slim\n", &[(3, "debian:12-slim")]),
            ("ARG B\nFROM ${B:-infra/base}${V:+x}\n", &[(2, "infra/base")]),
            ("\u{feff}FROM infra/base\r\nRUN x\r\n", &[(1, "infra/base")]),
        ];
        for (text, want) in table {
            let got = bases(text, &[]);
            assert_eq!(got.iter().map(|(n, s)| (*n, s.as_str())).collect::<Vec<_>>(), *want, "{text}");
        }
        assert_eq!(bases("ARG V=1\nFROM x:$V", &[("V", "2")]), [(2, "x:2".to_owned())]);
    }

    #[test]
    fn names_parents_without_their_tags() {
        let file = parse("FROM infra/base:latest\nFROM debian\nCOPY --from=infra/web@sha256:0 a b\n", &BTreeMap::new());
        assert_eq!(file.parents().into_iter().collect::<Vec<_>>(), ["base", "web"]);
        assert_eq!(file.foreign().map(|base| base.image.as_str()).collect::<Vec<_>>(), ["debian"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, line, want) in [
            ("RUN true\n", 1, "no FROM: write e.g. `FROM infra/base` as the first instruction"),
            ("\nFROM\n", 2, "FROM names no image: write e.g. `FROM infra/base`"),
            ("FROM $X\n", 1, "`X` has no value here: write `ARG X=…` before the first FROM, or `build.args`"),
        ] {
            assert_eq!(parse(text, &BTreeMap::new()).problems, [(line, want.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn takes_any_text() {
        for text in [
            "FROM ${",
            "FROM $",
            "\\",
            "#\\\n\\",
            "RUN <<",
            "ARG =",
            "FROM a AS",
            "COPY --from= x",
            "FROM ${ä:",
            "FROM ${a:ä}",
        ] {
            let _ = parse(text, &BTreeMap::new());
        }
    }
}
