//! Helpers for wording: durations, sizes, and never "1 files".

/// `3 s`, `5 min`, `2 h`, `4 d`: a duration in seconds for people.
pub fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86400),
    }
}

/// `0.4 s`, `12.3 s`, `2 min 5 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", (seconds / 60.0) as u64, (seconds % 60.0) as u64)
    }
}

/// `12 B`, `3.4 MiB`.
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

/// `1 step`, `2 steps`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!([ago(-1), ago(119), ago(120), ago(7200), ago(172_800)], ["0 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!([duration(0.44), duration(125.2)], ["0.4 s", "2 min 5 s"]);
        assert_eq!([bytes(12), bytes(1536), bytes(20 << 30)], ["12 B", "1.5 KiB", "20.0 GiB"]);
        assert_eq!([plural(1, "step"), plural(0, "step")], ["1 step", "0 steps"]);
    }
}
