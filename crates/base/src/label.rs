//! Labels: the parts of a DNS name between the dots (RFC 1035, 2.3.1).

/// Returns whether `text` is a label in lower case. The names of labs, environments and nodes are labels too.
pub fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
