//! Which records of an upstream's answer are believed: those of the question's name and of the aliases that lead on from it, as far as
//! this upstream is the one that is asked for such names. Everything else in the answer is dropped, before it is remembered or passed on.

use hickory_server::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

/// Aliases that are followed in one answer (RFC 1034, section 3.6.2 allows a server to end it).
const MAX_CHAIN: usize = 16;
/// How long a missing name is remembered where an alias leads to it and nothing says how long, in seconds.
const MISSING: u32 = 30;

/// What is left of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Believed {
    pub answers: Vec<Record>,
    /// Why there is none of the type that was asked for, and for how long.
    pub soa: Option<Record>,
    /// Here the answer ends without an end: this name is to be asked for next.
    pub next: Option<Name>,
}

/// Reads the answer to a question for `name` and `rtype`. `may_say`: whether this upstream is asked for such a name.
pub fn believed(name: &Name, rtype: RecordType, message: &Message, may_say: impl Fn(&Name) -> bool) -> Believed {
    let mut all = Believed::default();
    let mut at = name.clone();
    for _ in 0..MAX_CHAIN {
        if !may_say(&at) {
            all.next = Some(at);
            return all;
        }
        // In the case of the question: an upstream repeats the random one.
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
        // The alias holds no longer than what was said of its end.
        let most = all.soa.as_ref().map_or(MISSING, negative_ttl);
        all.answers.iter_mut().for_each(|record| record.ttl = record.ttl.min(most));
    }
    all
}

/// RFC 2308, section 5.
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

    /// `corp.` is asked elsewhere, `internal.` is ours.
    fn judge(records: &[&str], authorities: &[&str]) -> (Vec<String>, Option<String>, Option<String>) {
        let may_say = |at: &Name| !name("corp.").zone_of(at) && !name("internal.").zone_of(at);
        let all = believed(&name("www.a."), RecordType::A, &message(records, authorities), may_say);
        let answers = all.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
        (answers, all.soa.map(|soa| soa.name.to_string()), all.next.map(|name| name.to_string()))
    }

    #[test]
    fn only_the_chain_of_the_question_is_believed() {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        // Answers and authorities as they come; what is left; the SOA; what is asked for next.
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
            // In any order, with something between them.
            (
                &["b.b. A 1.2.3.4", "bank. CNAME c.c.", "www.a. CNAME b.b."],
                &[],
                &["www.a. CNAME b.b.", "b.b. A 1.2.3.4"],
                None,
                None,
            ),
            // The end is not there: it is asked for.
            (&["www.a. CNAME b.b."], &[], &["www.a. CNAME b.b."], None, Some("b.b.")),
            // … unless it is said that there is none.
            (&["www.a. CNAME b.b."], &["b. SOA ns.b."], &["www.a. CNAME b.b."], Some("b."), None),
            (&["www.a. CNAME b.b."], &["bank. SOA ns.b."], &["www.a. CNAME b.b."], None, Some("b.b.")),
            // Others are asked for these.
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
            assert_eq!(judge(records, authorities), want, "{records:?} {authorities:?}");
        }
    }

    #[test]
    fn random_case_is_not_passed_on() {
        let all =
            believed(&name("www.a."), RecordType::A, &message(&["wWw.A. CNAME b.b.", "B.b. A 1.2.3.4"], &[]), |_| true);
        let owners: Vec<_> = all.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(owners, ["www.a.", "b.b."]);
    }

    #[test]
    fn an_alias_to_a_missing_name_holds_as_long_as_the_soa_says() {
        let all =
            believed(&name("www.a."), RecordType::A, &message(&["www.a. CNAME b.b."], &["b. SOA ns.b."]), |_| true);
        assert_eq!(all.answers[0].ttl, 60);
    }
}
