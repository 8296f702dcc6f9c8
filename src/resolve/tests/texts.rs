//! The editing of texts, by itself.

use super::super::{
    block::{Cut, block, cut},
    daemon::{read, set},
    dhcp,
    diff::diff,
};

#[test]
fn dns_goes_into_daemon_json_and_out_again() {
    for text in [
        "{\n  \"a\": 1\n}\n",
        "{ \"a\": {\"dns\": [\"x\"]}, \"b\": \"}\\\",{\" }",
        "{\"a\":[1,{\"b\":2}]}",
        "{\r\n\t\"a\": \"ä\",\r\n\t\"b\": null\r\n}\r\n",
    ] {
        let with = set(text, Some("[\"192.0.2.1\"]"));
        assert_eq!(read(&with).unwrap().unwrap().list, ["192.0.2.1"], "{with}");
        assert_eq!(set(&with, None), text, "{with}");
        assert_eq!(set(&set(&with, Some("[ ]")), Some("[\"192.0.2.1\"]")), with);
        let value = |t: &str| serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(t).unwrap();
        let mut all = value(&with);
        all.remove("dns");
        assert_eq!(all, value(text));
    }
    assert_eq!(set("{\"dns\": [], \"a\": 1}", None), "{\"a\": 1}");
    assert_eq!(set("{\n  \"a\": 1\n}", Some("[]")), "{\n  \"a\": 1,\n  \"dns\": []\n}");
    assert_eq!(set("{\"a\": 1}", Some("[]")), "{\"a\": 1, \"dns\": []}");
    assert_eq!(set(" \n", Some("[]")), "{\n  \"dns\": []\n}\n");
    assert!(read("").unwrap().is_none() && read("{}").unwrap().is_none());
    // A key may be written in another way: it is the same key.
    assert_eq!(read("{\"d\\u006es\": [\"192.0.2.1\"]}").unwrap().unwrap().raw, "[\"192.0.2.1\"]");
}

#[test]
fn a_block_is_found_by_its_lab() {
    let (a, b) = (block("a", '#', &["x".into()]), block("ab", ';', &["y".into()]));
    let text = format!("first\n{a}between\n{b}last");
    let Cut::Clean { part, rest } = cut(text.as_bytes(), "a") else { panic!("{text}") };
    assert_eq!((part, rest), (a.clone().into_bytes(), format!("first\nbetween\n{b}last").into_bytes()));
    assert!(matches!(cut(text.as_bytes(), "ab"), Cut::Clean { .. }));
    assert_eq!(cut(text.as_bytes(), "c"), Cut::None);
    assert_eq!(cut(format!("{a}{a}").as_bytes(), "a"), Cut::Unclear);
    assert_eq!(cut(b"# lap a: end\n# lap a: begin\n", "a"), Cut::Unclear);
    assert!(matches!(cut(format!("\u{fffd}{a}").as_bytes(), "a"), Cut::Unclear), "not at the line's begin");
}

#[test]
fn a_difference_is_only_what_differs() {
    assert_eq!(diff("a\nb\nc\n", "a\nx\nc\n"), ["- b", "+ x"]);
    assert_eq!(diff("", "a\nb\n"), ["+ a", "+ b"]);
    assert_eq!(diff("a\na\n", "a\n"), ["- a"]);
    assert!(diff("a\n", "a\n").is_empty());
}

#[test]
fn lines_for_the_offices_dhcp_server() {
    let text = dhcp("internal.", &[[192, 168, 7, 2].into(), [192, 168, 7, 3].into()]);
    for line in [
        "option 6    domain-name-servers  192.168.7.2, 192.168.7.3",
        "  dhcp-option=option:dns-server,192.168.7.2,192.168.7.3",
        "  dhcp-option=option:domain-search,internal",
        "  option domain-name-servers 192.168.7.2, 192.168.7.3;",
        "  option domain-search \"internal\";",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}
