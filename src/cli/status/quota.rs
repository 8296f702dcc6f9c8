//! What `lap status` says about containers that fill the pool.

use lap_base::words::{ago, bytes};

use super::complaint::Complaint;
use crate::wire::protocol::{NodeFacts, OverFact};

/// The containers that have more data than their size, or data that cannot be measured: a sentence and the next step for each.
pub fn over(facts: &NodeFacts, environment: &str, now: i64) -> impl Iterator<Item = Complaint> {
    facts.quota.over.iter().map(move |(container, over)| {
        let what = if over.unmeasured {
            "lap cannot measure its data, and `/data` is almost full".to_owned()
        } else {
            let (has, size) = (bytes(over.bytes), bytes(over.size));
            format!("it has {has} of data, more than its size of {size}, and `/data` is almost full")
        };
        let text = if over.frozen {
            format!("`{container}` is frozen since {}: {what}", ago(now - over.since))
        } else {
            format!("`{container}` is frozen again if its data grows: {what}")
        };
        Complaint::new(text, hint(container, over, environment))
    })
}

/// The container that may be the reason, where none has more than its size.
pub fn largest(facts: &NodeFacts) -> Option<String> {
    let large = facts.quota.largest.as_ref().filter(|_| facts.quota.over.is_empty())?;
    let (container, has) = (&large.container, bytes(large.bytes));
    Some(match large.grew {
        0 => format!("`{container}` has the most data: {has}"),
        grew => format!("the data of `{container}` grows most: {has}, {} more than half a minute before", bytes(grew)),
    })
}

/// What lets a frozen container go on.
fn hint(container: &str, over: &OverFact, environment: &str) -> String {
    if over.unmeasured {
        return format!(
            "remove directories that are more than 400 levels deep in /data/{container} with `lap ssh`, or other data until 4 % of `/data` is \
             free; `lap restart {environment}/{container}` starts it again, and it runs as long as its data does not grow"
        );
    }
    format!(
        "remove some of the data in /data/{container} with `lap ssh`, or set a larger `[data] size` in containers/{container}/container.toml and run \
         `lap up {environment}`; `lap restart {environment}/{container}` starts it again, and it runs as long as its data does not grow"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::LargeFact;

    #[test]
    fn the_container_its_data_its_size_and_the_next_step_are_named() {
        let mut facts = NodeFacts::default();
        facts.quota.largest = Some(LargeFact { container: "db".into(), bytes: 3 << 30, grew: 0 });
        assert_eq!(largest(&facts).unwrap(), "`db` has the most data: 3.0 GiB");
        facts.quota.largest = Some(LargeFact { container: "db".into(), bytes: 3 << 30, grew: 1 << 30 });
        assert_eq!(
            largest(&facts).unwrap(),
            "the data of `db` grows most: 3.0 GiB, 1.0 GiB more than half a minute before"
        );
        let fact =
            OverFact { id: "1".into(), bytes: 900 << 20, size: 500 << 20, since: 100, frozen: true, unmeasured: false };
        facts.quota.over.insert("web".into(), fact);
        assert_eq!(largest(&facts), None, "the reason is known");
        let said: Vec<String> = over(&facts, "test", 112).map(|complaint| complaint.text).collect();
        assert_eq!(
            said,
            [
                "`web` is frozen since 12 s: it has 900.0 MiB of data, more than its size of 500.0 MiB, and `/data` is almost full"
            ]
        );
        facts.quota.over.get_mut("web").unwrap().frozen = false;
        let again = over(&facts, "test", 112).next().unwrap();
        assert!(again.text.starts_with("`web` is frozen again if its data grows: it has"));
        assert!(again.hints[0].contains("`lap restart test/web`"));
    }

    #[test]
    fn each_container_has_its_own_hint_and_one_that_cannot_be_measured_its_own_sentence() {
        let mut facts = NodeFacts::default();
        let fact =
            OverFact { id: "1".into(), bytes: 400 << 10, size: 500 << 20, since: 100, frozen: true, unmeasured: true };
        facts.quota.over.insert("cache".into(), fact.clone());
        facts.quota.over.insert("web".into(), OverFact { bytes: 900 << 20, unmeasured: false, ..fact });
        let said: Vec<Complaint> = over(&facts, "test", 112).collect();
        assert_eq!(
            said[0].text,
            "`cache` is frozen since 12 s: lap cannot measure its data, and `/data` is almost full"
        );
        assert!(said[0].hints[0].contains("/data/cache") && said[1].hints[0].contains("/data/web"));
    }
}
