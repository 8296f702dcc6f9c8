//! What a build printed, in bounded memory: its first lines and its newest ones. Between them lines are dropped and counted.

use std::collections::VecDeque;

use lap_base::words::plural;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Lines and bytes that the beginning holds, and the end as many.
const MOST_LINES: usize = 2000;
const MOST_BYTES: usize = 256 << 10;
/// A line is cut there.
const MOST_LINE: usize = 4096;

/// The lines of one build. A reader asks by number: line 0 is the first one that was ever said.
#[derive(Debug, Default)]
pub struct Output {
    head: Part,
    tail: Part,
    /// How many were dropped between the two.
    dropped: usize,
}

#[derive(Debug, Default)]
struct Part {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Part {
    fn has_room(&self, line: &str) -> bool {
        self.lines.len() < MOST_LINES && self.bytes + line.len() <= MOST_BYTES
    }

    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

impl Output {
    pub fn push(&mut self, mut line: String) {
        if line.len() > MOST_LINE {
            line.truncate(line.floor_char_boundary(MOST_LINE));
            line.push('…');
        }
        if self.tail.lines.is_empty() && self.head.has_room(&line) {
            return self.head.push(line);
        }
        while !self.tail.has_room(&line)
            && let Some(oldest) = self.tail.lines.pop_front()
        {
            self.tail.bytes -= oldest.len();
            self.dropped += 1;
        }
        self.tail.push(line);
    }

    /// The line with this number, and the number of the next one; for lines that were dropped, how many.
    pub fn line(&self, number: usize) -> Option<(String, usize)> {
        let tail = self.head.lines.len() + self.dropped;
        if let Some(line) = self.head.lines.get(number) {
            return Some((line.clone(), number + 1));
        }
        if number < tail {
            return Some((format!("… {} left out …", plural(tail - number, "line")), tail));
        }
        self.tail.lines.get(number - tail).map(|line| (line.clone(), number + 1))
    }

    /// How many lines were said.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.head.lines.len() + self.dropped + self.tail.lines.len()
    }

    /// Those that are kept, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &str> {
        self.tail.lines.iter().rev().chain(self.head.lines.iter().rev()).map(String::as_str)
    }
}

/// The next line of a stream, whatever its bytes are. The rest of a line that is too long is read and dropped: the writer must not
/// wait for a reader that gave up. `None`: the stream ended.
pub async fn next_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let bytes = stream.fill_buf().await.ok()?;
        if bytes.is_empty() {
            return any.then(|| text(line));
        }
        any = true;
        let end = bytes.iter().position(|&b| b == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        // One byte more than a line holds: so it shows that it was cut.
        line.extend(&part[..part.len().min((MOST_LINE + 1).saturating_sub(line.len()))]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        stream.consume(used);
        if end.is_some() {
            return Some(text(line));
        }
    }
}

fn text(line: Vec<u8>) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &Output) -> Vec<String> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let (line, next) = output.line(at)?;
            at = next;
            Some(line)
        })
        .collect()
    }

    #[test]
    fn the_beginning_and_the_end_stay() {
        let mut output = Output::default();
        for n in 0..1_000_000 {
            output.push(format!("line {n}"));
        }
        let said = all(&output);
        assert_eq!(said.len(), 2 * MOST_LINES + 1);
        assert_eq!((said[0].as_str(), said[1999].as_str()), ("line 0", "line 1999"));
        assert_eq!(said[2000], "… 996000 lines left out …");
        assert_eq!((said[2001].as_str(), said.last().unwrap().as_str()), ("line 998000", "line 999999"));
        assert_eq!(output.count(), 1_000_000);
        assert_eq!(output.newest().next(), Some("line 999999"));
    }

    #[test]
    fn a_reader_that_keeps_up_misses_nothing() {
        let (mut output, mut at) = (Output::default(), 0);
        for n in 0..10_000 {
            output.push(format!("line {n}"));
            let (line, next) = output.line(at).unwrap();
            assert_eq!(line, format!("line {n}"));
            at = next;
        }
        assert_eq!(output.line(at), None);
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let mut output = Output::default();
        for _ in 0..5000 {
            output.push("ä".repeat(1 << 16));
        }
        let kept: usize = all(&output).iter().map(String::len).sum();
        assert!(kept < 2 * MOST_BYTES + 100, "{kept}");
        assert!(output.newest().all(|line| line.len() <= MOST_LINE + 3 && line.ends_with('…')));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut bytes = b"\xff\xfe\r\n\n".to_vec();
        bytes.extend(vec![b'x'; 10 << 20]);
        bytes.extend(b"\nlast");
        let mut stream = tokio::io::BufReader::new(bytes.as_slice());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut stream).await {
            lines.push(line);
        }
        assert_eq!((lines.len(), lines[0].as_str(), lines[1].as_str()), (4, "\u{fffd}\u{fffd}", ""));
        assert_eq!((lines[2].len(), lines[3].as_str()), (MOST_LINE + 1, "last"));
    }
}
