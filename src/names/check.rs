//! Whether name servers answer what they should: pure, from what was desired and what was said.

use std::collections::{BTreeMap, BTreeSet};

use lap_nameserver::{client::QueryResult, names::Names, records};

/// A question, and the data a server should answer it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Fully qualified, with its final dot.
    pub name: String,
    /// `A`, `PTR`, …
    pub rtype: String,
    /// As in a zone file; the order says nothing.
    pub wished: BTreeSet<String>,
}

/// Everything that a server with these names can be asked: the addresses, the reverse records, and the records of the
/// workspace.
pub fn questions(names: &Names) -> Vec<Question> {
    let mut wished: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut reversed = BTreeSet::new();
    let mut add = |name: &str, rtype: &str, data: String| {
        wished.entry((name.to_owned(), rtype.to_owned())).or_default().insert(data);
    };
    for (name, address) in &names.hosts {
        add(name, "A", address.to_string());
        // The first name of an address is its reverse record.
        if reversed.insert(*address) {
            let [a, b, c, d] = address.octets();
            add(&format!("{d}.{c}.{b}.{a}.in-addr.arpa."), "PTR", name.clone());
        }
    }
    for (name, rtype, data) in &names.records {
        // As a server's answer is shown, so that the two can be compared.
        let parsed = records::record_type(rtype).and_then(|rtype| records::data(rtype, data));
        add(name, rtype, parsed.map_or_else(|_| data.clone(), |data| records::shown(&data)));
    }
    wished.into_iter().map(|((name, rtype), wished)| Question { name, rtype, wished }).collect()
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NameDifference {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub wished: String,
    pub got: String,
}

/// The questions that were not answered as they should be. A server that says nothing at all is one difference.
pub fn differences(questions: &[Question], said: &[QueryResult]) -> Vec<NameDifference> {
    if let [QueryResult::Nothing(why), ..] = said
        && said.iter().all(|said| matches!(said, QueryResult::Nothing(_)))
    {
        let name = format!("all {}", questions.len());
        return vec![NameDifference { name, rtype: "-".into(), wished: "an answer".into(), got: why.clone() }];
    }
    let joined = |data: &mut dyn Iterator<Item = &String>| data.cloned().collect::<Vec<_>>().join(", ");
    questions
        .iter()
        .zip(said)
        .filter_map(|(question, said)| {
            let got = match said {
                QueryResult::Records(records) if same(&question.wished, records) => return None,
                QueryResult::Records(records) => joined(&mut records.iter()),
                QueryResult::Code(code) if code == "NOERROR" => "no such record".to_owned(),
                QueryResult::Code(code) => code.clone(),
                QueryResult::Nothing(why) => why.clone(),
            };
            let Question { name, rtype, wished } = question.clone();
            Some(NameDifference { name, rtype, wished: joined(&mut wished.iter()), got })
        })
        .collect()
}

/// Names in answers keep the case in which somebody wrote them, which means nothing (RFC 4343).
fn same(wished: &BTreeSet<String>, got: &[String]) -> bool {
    let lower = |data: &String| data.to_ascii_lowercase();
    wished.iter().map(lower).collect::<BTreeSet<_>>() == got.iter().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lap_nameserver::names::Names;

    fn asked() -> Vec<Question> {
        let names = Names {
            hosts: vec![
                ("m.node.internal.".into(), [10, 0, 0, 1].into()),
                ("git.internal.".into(), [10, 0, 0, 1].into()),
            ],
            records: vec![
                ("t.internal.".into(), "TXT".into(), "one two".into()),
                ("t.internal.".into(), "TXT".into(), "\"three four\"".into()),
            ],
            ..Names::default()
        };
        questions(&names)
    }

    fn records(data: &[&str]) -> QueryResult {
        QueryResult::Records(data.iter().map(|data| (*data).to_owned()).collect())
    }

    #[test]
    fn an_address_is_asked_for_both_ways() {
        let all: Vec<_> = asked().into_iter().map(|q| format!("{} {} {:?}", q.name, q.rtype, q.wished)).collect();
        assert_eq!(
            all,
            [
                r#"1.0.0.10.in-addr.arpa. PTR {"m.node.internal."}"#,
                r#"git.internal. A {"10.0.0.1"}"#,
                r#"m.node.internal. A {"10.0.0.1"}"#,
                r#"t.internal. TXT {"\"one\" \"two\"", "\"three four\""}"#,
            ]
        );
    }

    #[test]
    fn only_what_differs_is_told() {
        let txt = records(&["\"three four\"", "\"one\" \"two\""]);
        let good = [records(&["M.node.internal."]), records(&["10.0.0.1"]), records(&["10.0.0.1"]), txt.clone()];
        assert_eq!(differences(&asked(), &good), []);
        let said = [
            QueryResult::Code("NXDOMAIN".into()),
            records(&["10.0.0.2", "10.0.0.1"]),
            QueryResult::Code("NOERROR".into()),
            txt,
        ];
        let told: Vec<_> =
            differences(&asked(), &said).into_iter().map(|d| format!("{} {}: {}", d.name, d.wished, d.got)).collect();
        assert_eq!(
            told,
            [
                "1.0.0.10.in-addr.arpa. m.node.internal.: NXDOMAIN",
                "git.internal. 10.0.0.1: 10.0.0.2, 10.0.0.1",
                "m.node.internal. 10.0.0.1: no such record",
            ]
        );
        let silent = vec![QueryResult::Nothing("no answer".into()); 4];
        let told = differences(&asked(), &silent);
        assert_eq!((told.len(), told[0].name.as_str(), told[0].got.as_str()), (1, "all 4", "no answer"));
    }
}
