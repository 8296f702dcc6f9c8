//! Resource records as people write them, in the words of a zone file (RFC 1035, section 5.1): a type and its data,
//! `SRV` and `0 0 389 ldap.internal.`

use std::str::FromStr;

use hickory_server::proto::{
    rr::{RData, RecordType},
    serialize::binary::BinEncodable,
};

/// The types that may be written, each with an example of its data.
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

/// The type that `text` names, in any case.
///
/// # Errors
/// "what is wrong: what would be right".
pub fn record_type(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let known = TYPES.iter().any(|(name, _)| *name == upper);
    let parsed = RecordType::from_str(&upper).ok().filter(|_| known);
    parsed.ok_or_else(|| {
        let names: Vec<String> = TYPES.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("`{}` is not a type of record: write one of {}", text.escape_debug(), names.join(", "))
    })
}

/// The data of a record of type `rtype`. Names in it are whole, with their final dot.
///
/// # Errors
/// "what is wrong: what would be right".
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
    // The parser takes what it needs and passes over the rest.
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
    // Some limits (a text of 255 bytes, a name's length) only show when it is written down.
    match data.to_bytes() {
        Ok(bytes) if bytes.len() <= usize::from(u16::MAX) => Ok(data),
        _ => Err(wrong()),
    }
}

/// Where among its words the data of a type has a name.
pub fn name_at(rtype: RecordType) -> Option<usize> {
    match rtype {
        RecordType::CNAME | RecordType::PTR => Some(0),
        RecordType::MX | RecordType::SVCB | RecordType::HTTPS => Some(1),
        RecordType::SRV => Some(3),
        RecordType::NAPTR => Some(5),
        _ => None,
    }
}

/// The words of `text`, quotes kept; `None` where a quote is not closed, or for what a zone file would take for a comment or
/// a line's end.
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

/// A record's data as a zone file has it. Unlike the library's own way, texts keep their quotes.
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
    fn examples_are_right() {
        for (name, example) in TYPES {
            let rtype = record_type(&name.to_lowercase()).unwrap();
            let first = data(rtype, example).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(data(rtype, &shown(&first)), Ok(first), "{name}: as it is shown it is read again");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
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
    fn texts_keep_their_quotes() {
        let text = r#""a b" "c\"d" plain"#;
        assert_eq!(shown(&data(RecordType::TXT, text).unwrap()), r#""a b" "c\"d" "plain""#);
    }
}
