//! Wording of durations, sizes and plurals.

/// Returns a duration, given in seconds, in one unit: `3 s`, `5 min`, `2 h`, `4 d`.
pub fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86400),
    }
}

/// Returns a duration, given in seconds: `0.4 s`, `12.3 s`, `2 min 5 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", (seconds / 60.0) as u64, (seconds % 60.0) as u64)
    }
}

/// Returns a number of bytes with its unit: `12 B`, `3.4 MiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Returns the count with the noun in the singular or the plural: `1 step`, `2 steps`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Makes untrusted text safe for one line of a terminal. Escapes each character that moves the cursor, changes the
/// direction of the text, or is invisible.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\t' && (c.is_control() || is_invisible(c)) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Returns untrusted text for use in a message: in backticks, on one line, at most 80 characters.
pub fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", plain(&short))
}

/// Returns whether a terminal does not show `c`: bidirectional controls, zero-width characters, line separators, tags,
/// and fillers without a glyph.
pub fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0xe0000..=0xe0fff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_move_the_cursor_or_hide() {
        for (text, shown) in [
            ("Anna Å. 日本\t{x}", "Anna Å. 日本\t{x}"),
            ("a\x1b[2Kb\r\n", "a\\u{1b}[2Kb\\r\\n"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("rm\u{202e}x\u{200b}y\u{2066}", "rm\\u{202e}x\\u{200b}y\\u{2066}"),
            ("\u{2028}\u{feff}\u{e0041}", "\\u{2028}\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn durations_sizes_and_plurals_have_units() {
        assert_eq!([ago(-1), ago(119), ago(120), ago(7200), ago(172_800)], ["0 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!([duration(0.44), duration(125.2)], ["0.4 s", "2 min 5 s"]);
        assert_eq!([bytes(12), bytes(1536), bytes(20 << 30)], ["12 B", "1.5 KiB", "20.0 GiB"]);
        assert_eq!([plural(1, "step"), plural(0, "step")], ["1 step", "0 steps"]);
    }
}
