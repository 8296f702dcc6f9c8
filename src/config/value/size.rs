//! Sizes in bytes, as Compose writes them.

use crate::config::problem::shown;

/// `512m`, `4g`, `1gb`, or plain bytes; units are powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is not a size: write a whole number and a unit, e.g. `512m` or `4g`", shown(text));
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let number: u64 = lower[..end].parse().map_err(|_| wrong())?;
    let factor: u64 = match &lower[end..] {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("12", 12), ("12b", 12), ("2k", 2048), ("512m", 512 << 20), ("4G", 4 << 30), ("1tb", 1 << 40)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        let table = ["", "m", "1.5g", "-1", "5 m", "99999999999t", "12ä"]
            .map(|t| (t, format!("`{t}` is not a size: write a whole number and a unit, e.g. `512m` or `4g`")));
        messages(size, &table.each_ref().map(|(text, want)| (*text, want.as_str())));
    }
}
