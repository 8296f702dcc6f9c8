//! The journal's lines: how one is written, which are read from damaged bytes, and which a shorter journal keeps.

use lap_base::error::{Kind, OrError, Result};
use serde::{Deserialize, Serialize};

use crate::wire::protocol::{Holder, Note};

/// How many lines a rewrite keeps.
pub const KEPT_LINES: usize = 500;
/// A text in a note is not longer: one note must not fill the journal.
const MAX_TEXT: usize = 8 << 10;
/// How each line begins. JSON escapes quotes, so no text inside a line contains it.
const START: &[u8] = b"{\"op\":";

/// One line. `op` is the fencing number of the lock it happened under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    pub op: u64,
    /// Unix seconds.
    pub at: i64,
    pub what: JournalEvent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalEvent {
    Begin(Holder),
    Note(Note),
    /// The holder went away, or the node died, in the middle.
    Lost,
}

/// What a journal's bytes hold.
#[derive(Debug, Default)]
pub struct JournalContent {
    pub lines: Vec<JournalLine>,
    /// Lines that could not be read, without an unfinished last one.
    pub damaged: usize,
    /// Behind this stands an unfinished line.
    pub whole: usize,
}

/// Reads a journal. A damaged line is left out; a whole line that was glued to it is read.
pub fn read(text: &[u8]) -> JournalContent {
    let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let mut read = JournalContent { whole, ..JournalContent::default() };
    for line in text[..whole].split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(line) = serde_json::from_slice(line) {
            read.lines.push(line);
            continue;
        }
        read.damaged += 1;
        let starts = line.windows(START.len()).enumerate().skip(1).filter(|(_, bytes)| *bytes == START);
        read.lines.extend(starts.filter_map(|(at, _)| serde_json::from_slice::<JournalLine>(&line[at..]).ok()));
    }
    read
}

/// Appends a line to `text`.
///
/// # Errors
/// serde cannot write it.
pub fn write(line: &JournalLine, text: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(&mut *text, line).or_error(Kind::Other, || "cannot write the journal".into())?;
    text.push(b'\n');
    Ok(())
}

/// The text of a shorter journal: the newest lines, at most [`KEPT_LINES`] and `max_bytes`; in front of them the beginning and the
/// newest step of the last operation, so that it is known however long it takes.
///
/// # Errors
/// As [`write()`].
pub fn kept(lines: &[JournalLine], max_bytes: u64) -> Result<Vec<u8>> {
    let mut texts = Vec::with_capacity(lines.len());
    for line in lines {
        let mut text = Vec::new();
        write(line, &mut text)?;
        texts.push(text);
    }
    let mut bytes = 0;
    let fits = texts.iter().rev().take(KEPT_LINES).take_while(|text| {
        bytes += text.len() as u64;
        bytes <= max_bytes
    });
    let from = lines.len() - fits.count();
    let begun = lines.iter().rposition(|line| matches!(line.what, JournalEvent::Begin(_)));
    let mut kept: Vec<&Vec<u8>> = Vec::new();
    if let Some(begun) = begun.filter(|begun| *begun < from) {
        let before = &lines[begun..from];
        let step = before.iter().rposition(|line| matches!(line.what, JournalEvent::Note(Note::Step(_))));
        let end =
            before.iter().rposition(|line| matches!(line.what, JournalEvent::Note(Note::End(_)) | JournalEvent::Lost));
        kept.push(&texts[begun]);
        kept.extend([step, end].into_iter().flatten().map(|at| &texts[begun + at]));
    }
    kept.extend(&texts[from..]);
    Ok(kept.into_iter().flatten().copied().collect())
}

/// The same note with a text of at most [`MAX_TEXT`] bytes.
pub fn bounded(note: Note) -> Note {
    let short = |mut text: String| {
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push('…');
        }
        text
    };
    match note {
        Note::Step(text) => Note::Step(short(text)),
        Note::Did(text) => Note::Did(short(text)),
        Note::End(result) => Note::End(result.map_err(short)),
    }
}
