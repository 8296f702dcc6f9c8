//! Durations, as Compose writes them.

use std::time::Duration;

use crate::config::problem::shown;

/// `1m30s`, `10s`, `500ms`: numbers with the units `us`, `ms`, `s`, `m`, `h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is not a duration: write e.g. `500ms`, `10s` or `1m30s`", shown(text));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..unit] {
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
            "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    // A day is far more than anything here waits for, and fits every type it will be put into.
    if text.is_empty() || total > Duration::from_secs(24 * 3600) { Err(wrong()) } else { Ok(total) }
}

/// How often something is done, in seconds: a duration, or days (`7d`).
pub fn period(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let seconds = match days {
        Some(days @ 1..=366) => days * 24 * 3600,
        Some(_) => return Err(format!("{} is not possible: write `1d` to `366d`", shown(text))),
        None => duration(text)
            .map_err(|_| format!("{} is not a time: write e.g. `7d`, `12h` or `30m`", shown(text)))?
            .as_secs(),
    };
    if seconds < 60 { Err(format!("{} is too short: one minute is the minimum", shown(text))) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn periods() {
        for (text, seconds) in [("1m", 60), ("90s", 90), ("24h", 86_400), ("1d", 86_400), ("7d", 7 * 86_400)] {
            assert_eq!(period(text).unwrap(), seconds, "{text}");
        }
        messages(
            period,
            &[
                ("0d", "`0d` is not possible: write `1d` to `366d`"),
                ("367d", "`367d` is not possible: write `1d` to `366d`"),
                ("59s", "`59s` is too short: one minute is the minimum"),
                ("1d12h", "`1d12h` is not a time: write e.g. `7d`, `12h` or `30m`"),
                ("daily", "`daily` is not a time: write e.g. `7d`, `12h` or `30m`"),
            ],
        );
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("1h5m", 3_900_000), ("0s", 0), ("2000us", 2)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        let table =
            ["", "10", "s", "1.5s", "10 s", "-1s", "5d", "99999999999999999999s", "25h", "18446744073709551615h"]
                .map(|t| (t, format!("`{t}` is not a duration: write e.g. `500ms`, `10s` or `1m30s`")));
        messages(duration, &table.each_ref().map(|(text, want)| (*text, want.as_str())));
    }
}
