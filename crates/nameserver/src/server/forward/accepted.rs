//! Selects the records of an upstream's answer that are accepted: those of the question's name and of its chain of
//! aliases, if this upstream is the one that is asked for these names. All other records are dropped before the answer
//! is cached or sent, so an upstream cannot inject records of other names.

use hickory_server::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

/// The maximum number of aliases that are followed in one answer.
const MAX_CHAIN: usize = 16;
/// The TTL in seconds of an alias to a missing name if the answer contains no SOA.
const MISSING: u32 = 30;

/// The accepted part of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct AcceptedRecords {
    pub answers: Vec<Record>,
    /// The SOA of a negative answer, which says how long it may be cached.
    pub soa: Option<Record>,
    /// The name to ask for next, if the answer ends with an alias and does not contain the alias's target.
    pub next: Option<Name>,
}

/// Selects the accepted part of an answer to a question for `name` and `rtype`. `may_say` returns whether this upstream
/// is asked for a name.
pub fn accepted(name: &Name, rtype: RecordType, message: &Message, may_say: impl Fn(&Name) -> bool) -> AcceptedRecords {
    let mut all = AcceptedRecords::default();
    let mut at = name.clone();
    for _ in 0..MAX_CHAIN {
        if !may_say(&at) {
            all.next = Some(at);
            return all;
        }
        // Restores the case of the question, because an upstream repeats the random case of the query.
        let named = |record: &Record| {
            let mut record = record.clone();
            record.name = at.clone();
            record
        };
        let here = || message.answers.iter().filter(|record| record.name == at);
        let before = all.answers.len();
        all.answers.extend(here().filter(|r| rtype.is_any() || r.record_type() == rtype).map(named));
        if all.answers.len() > before {
            return all;
        }
        let Some((record, alias)) = here().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((record, alias.0.to_lowercase())),
            _ => None,
        }) else {
            break;
        };
        let circle = alias == *name || all.answers.iter().any(|record| record.name == alias) || alias == at;
        let record = named(record);
        all.answers.push(record);
        at = alias;
        if circle {
            return all;
        }
    }
    all.soa = message.authorities.iter().find(|r| r.record_type() == RecordType::SOA && r.name.zone_of(&at)).cloned();
    all.soa = all.soa.filter(|soa| may_say(&soa.name));
    let missing = message.metadata.response_code == ResponseCode::NXDomain || all.soa.is_some();
    if at != *name && !missing {
        all.next = Some(at);
    } else if missing {
        // An alias to a missing name must not be cached longer than the negative answer.
        let most = all.soa.as_ref().map_or(MISSING, negative_ttl);
        all.answers.iter_mut().for_each(|record| record.ttl = record.ttl.min(most));
    }
    all
}

/// Returns the TTL of a negative answer in seconds (RFC 2308, section 5).
pub fn negative_ttl(soa: &Record) -> u32 {
    match &soa.data {
        RData::SOA(data) => soa.ttl.min(data.minimum),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_server::proto::rr::rdata;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(records: &[&str], authorities: &[&str]) -> Message {
        let record = |text: &&str| {
            let mut words = text.split(' ');
            let (owner, rtype, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let data = match rtype {
                "A" => RData::A(data.parse().unwrap()),
                "CNAME" => RData::CNAME(rdata::CNAME(name(data))),
                "SOA" => RData::SOA(rdata::SOA::new(name(data), name(data), 1, 2, 3, 4, 60)),
                other => panic!("{other}"),
            };
            Record::from_rdata(name(owner), 300, data)
        };
        let mut message = Message::query();
        message.add_answers(records.iter().map(record));
        message.add_authorities(authorities.iter().map(record));
        message
    }

    /// In this test, another upstream is asked for `corp.`, and the server has the zone `internal.`
    fn accept_of_www_a(records: &[&str], authorities: &[&str]) -> (Vec<String>, Option<String>, Option<String>) {
        let may_say = |at: &Name| !name("corp.").zone_of(at) && !name("internal.").zone_of(at);
        let all = accepted(&name("www.a."), RecordType::A, &message(records, authorities), may_say);
        let answers = all.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
        (answers, all.soa.map(|soa| soa.name.to_string()), all.next.map(|name| name.to_string()))
    }

    #[test]
    fn only_records_of_the_questions_chain_are_accepted() {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        // The columns: the answer section, the authority section, the accepted answers, the SOA, the next name.
        type Case = (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
            Option<&'static str>,
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (&["www.a. A 1.2.3.4", "bank. A 6.6.6.6"], &[], &["www.a. A 1.2.3.4"], None, None),
            (&["bank. A 6.6.6.6"], &[], &[], None, None),
            // The records may be in any order, with other records between them.
            (
                &["b.b. A 1.2.3.4", "bank. CNAME c.c.", "www.a. CNAME b.b."],
                &[],
                &["www.a. CNAME b.b.", "b.b. A 1.2.3.4"],
                None,
                None,
            ),
            // The target of the alias is missing from the answer. It is the next name.
            (&["www.a. CNAME b.b."], &[], &["www.a. CNAME b.b."], None, Some("b.b.")),
            // The SOA shows that the target has no such record.
            (&["www.a. CNAME b.b."], &["b. SOA ns.b."], &["www.a. CNAME b.b."], Some("b."), None),
            (&["www.a. CNAME b.b."], &["bank. SOA ns.b."], &["www.a. CNAME b.b."], None, Some("b.b.")),
            // Other servers are responsible for these names.
            (&["www.a. CNAME x.corp.", "x.corp. A 6.6.6.6"], &[], &["www.a. CNAME x.corp."], None, Some("x.corp.")),
            (
                &["www.a. CNAME git.internal.", "git.internal. A 6.6.6.6"],
                &["internal. SOA ns.b."],
                &["www.a. CNAME git.internal."],
                None,
                Some("git.internal."),
            ),
            (&[], &["a. SOA ns.a."], &[], Some("a."), None),
            (&[], &["bank. SOA ns.a."], &[], None, None),
            (&["www.a. CNAME www.a."], &[], &["www.a. CNAME www.a."], None, None),
        ];
        for (records, authorities, answers, soa, next) in cases {
            let want = (strings(answers), soa.map(str::to_owned), next.map(str::to_owned));
            assert_eq!(accept_of_www_a(records, authorities), want, "{records:?} {authorities:?}");
        }
    }

    #[test]
    fn the_random_case_of_a_query_is_not_in_the_answer() {
        let all =
            accepted(&name("www.a."), RecordType::A, &message(&["wWw.A. CNAME b.b.", "B.b. A 1.2.3.4"], &[]), |_| true);
        let owners: Vec<_> = all.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(owners, ["www.a.", "b.b."]);
    }

    #[test]
    fn an_alias_to_a_missing_name_has_the_ttl_of_the_negative_answer() {
        let all =
            accepted(&name("www.a."), RecordType::A, &message(&["www.a. CNAME b.b."], &["b. SOA ns.b."]), |_| true);
        assert_eq!(all.answers[0].ttl, 60);
    }
}
