//! Resource records in the text form of a zone file (RFC 1035, section 5.1): a type and its data, for example `SRV` and
//! `0 0 389 ldap.internal.`

use std::str::FromStr;

use hickory_server::proto::{
    rr::{RData, RecordType},
    serialize::binary::BinEncodable,
};

/// The types that are accepted, each with an example of its data.
pub const TYPES: [(&str, &str); 13] = [
    ("A", "192.168.0.10"),
    ("AAAA", "fd00::10"),
    ("CAA", "0 issue \"ca.example.org\""),
    ("CNAME", "git.internal."),
    ("HTTPS", "1 git.internal. alpn=h2"),
    ("MX", "10 mail.internal."),
    ("NAPTR", "100 10 \"S\" \"SIP+D2U\" \"\" _sip._udp.internal."),
    ("PTR", "git.internal."),
    ("SRV", "0 0 389 ldap.internal."),
    ("SSHFP", "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"),
    ("SVCB", "1 git.internal. port=8443"),
    ("TLSA", "3 1 1 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"),
    ("TXT", "\"some text\""),
];

/// Parses the name of a record type, in upper or lower case.
///
/// # Errors
/// The type is not in [`TYPES`]. The text has the form "the fault: the correct form".
pub fn record_type(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let known = TYPES.iter().any(|(name, _)| *name == upper);
    let parsed = RecordType::from_str(&upper).ok().filter(|_| known);
    parsed.ok_or_else(|| {
        let names: Vec<String> = TYPES.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("`{}` is not a type of record: write one of {}", text.escape_debug(), names.join(", "))
    })
}

/// Parses the data of a record of type `rtype`. Names in the data must be fully qualified, with their final dot.
///
/// # Errors
/// The data is wrong for this type. The text has the form "the fault: the correct form".
pub fn data(rtype: RecordType, text: &str) -> Result<RData, String> {
    let name = rtype.to_string();
    let example = TYPES.iter().find(|(known, _)| *known == name).map_or("", |(_, example)| *example);
    let wrong = || format!("`{}` is not the data of a {name} record: write e.g. `{example}`", text.escape_debug());
    let words = words(text).ok_or_else(wrong)?;
    let count = match rtype {
        RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::PTR => Some(1),
        RecordType::MX => Some(2),
        RecordType::CAA | RecordType::SSHFP => Some(3),
        RecordType::SRV | RecordType::TLSA => Some(4),
        RecordType::NAPTR => Some(6),
        _ => None,
    };
    // The parser ignores superfluous words.
    if words.is_empty() || count.is_some_and(|count| count != words.len()) {
        return Err(wrong());
    }
    if let Some(host) = name_at(rtype).and_then(|at| words.get(at)).filter(|host| !host.ends_with('.')) {
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Err(wrong());
        }
        return Err(format!("`{}` has no final dot: write `{0}.`", host.escape_debug()));
    }
    let data = RData::try_from_str(rtype, text).map_err(|_| wrong())?;
    // The parser does not check every limit (a text of 255 bytes, the length of a name). The encoder does.
    match data.to_bytes() {
        Ok(bytes) if bytes.len() <= usize::from(u16::MAX) => Ok(data),
        _ => Err(wrong()),
    }
}

/// Returns the position of the name among the words of the data, or `None` if data of this type contains no name.
pub fn name_at(rtype: RecordType) -> Option<usize> {
    match rtype {
        RecordType::CNAME | RecordType::PTR => Some(0),
        RecordType::MX | RecordType::SVCB | RecordType::HTTPS => Some(1),
        RecordType::SRV => Some(3),
        RecordType::NAPTR => Some(5),
        _ => None,
    }
}

/// Splits `text` at spaces, and keeps quotes. Returns `None` if a quote is not closed, or for a character that a zone
/// file would treat as a comment or a line break.
fn words(text: &str) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    let (mut word, mut quoted, mut escaped) = (None::<String>, false, false);
    for c in text.chars() {
        match c {
            _ if c.is_control() => return None,
            ';' | '(' | ')' if !quoted && !escaped => return None,
            '"' if !escaped => quoted = !quoted,
            ' ' if !quoted => {
                out.extend(word.take());
                escaped = false;
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        word.get_or_insert_default().push(c);
    }
    out.extend(word);
    (!quoted).then_some(out)
}

/// Returns the data of a record as in a zone file. The library's own form omits the quotes of a TXT record.
pub fn shown(data: &RData) -> String {
    let RData::TXT(txt) = data else { return data.to_string() };
    let quoted = |text: &[u8]| {
        let mut out = String::from("\"");
        for byte in text {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
                b' '..=b'~' => out.push(char::from(*byte)),
                _ => out.push_str(&format!("\\{byte:03}")),
            }
        }
        out + "\""
    };
    txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_parses_and_survives_its_text_form() {
        for (name, example) in TYPES {
            let rtype = record_type(&name.to_lowercase()).unwrap();
            let first = data(rtype, example).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(data(rtype, &shown(&first)), Ok(first), "{name}: the text of the data parses to the same data");
        }
    }

    #[test]
    fn wrong_data_is_refused_with_the_correct_form() {
        for (rtype, text, want) in [
            ("A", "fd00::1", "`fd00::1` is not the data of a A record: write e.g. `192.168.0.10`"),
            ("A", "10.0.0.1 10.0.0.2", "`10.0.0.1 10.0.0.2` is not the data of a A record: write e.g. `192.168.0.10`"),
            ("CNAME", "git.internal", "`git.internal` has no final dot: write `git.internal.`"),
            ("CNAME", "10.0.0.1", "`10.0.0.1` is not the data of a CNAME record: write e.g. `git.internal.`"),
            ("MX", "mail.internal.", "`mail.internal.` is not the data of a MX record: write e.g. `10 mail.internal.`"),
            ("TXT", "a; b", "`a; b` is not the data of a TXT record: write e.g. `\"some text\"`"),
            ("TXT", "\"a", "`\\\"a` is not the data of a TXT record: write e.g. `\"some text\"`"),
            ("TXT", "", "`` is not the data of a TXT record: write e.g. `\"some text\"`"),
        ] {
            assert_eq!(data(record_type(rtype).unwrap(), text).unwrap_err(), want);
        }
        assert!(data(RecordType::TXT, &"a".repeat(256)).is_err());
        assert!(
            record_type("SOA").unwrap_err().starts_with("`SOA` is not a type of record: write one of `A`, `AAAA`,")
        );
    }

    #[test]
    fn the_text_form_of_a_txt_record_has_quotes() {
        let text = r#""a b" "c\"d" plain"#;
        assert_eq!(shown(&data(RecordType::TXT, text).unwrap()), r#""a b" "c\"d" "plain""#);
    }
}
