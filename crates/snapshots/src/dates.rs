//! Dates for the rules that count by hour, day, week and month, if the clock was wrong. This module is pure.

use super::order::is_ahead;

const DAY: i64 = 24 * 3600;

/// Returns the date by which each state counts, or `None` for a date in the future. `times` contains the dates of the
/// clock; the oldest state comes first.
///
/// The order is known, so some of the dates that contradict it are wrong. The function selects as correct the dates
/// that cover the most days, because there are few old states, and one day with many states must not outweigh them. A
/// state with a wrong date lies between its neighbours in the order. Such states count as if they had been taken at
/// equal intervals.
pub fn dates(times: &[i64], now: i64) -> Vec<Option<i64>> {
    let behind: Vec<usize> = (0..times.len()).filter(|n| !is_ahead(times[*n], now)).collect();
    let mut dates = vec![None; times.len()];
    let right = longest_rising(&behind.iter().map(|n| times[*n]).collect::<Vec<_>>());
    // The ends of each run of wrong dates, as positions in `behind`.
    let mut before: Option<usize> = None;
    for after in right.into_iter().map(Some).chain([None]) {
        let first = before.map_or(0, |n| n + 1);
        let end = after.unwrap_or(behind.len());
        let until = after.map_or(now, |n| times[behind[n]]);
        let from = before.map_or(until, |n| times[behind[n]]);
        for (nth, n) in behind[first..end].iter().enumerate() {
            dates[*n] = Some(between(from, until, nth + 1, end - first + 1));
        }
        if let Some(n) = after {
            dates[behind[n]] = Some(times[behind[n]]);
        }
        before = after;
    }
    dates
}

/// Returns the end of part number `part` if the time is divided into `parts` equal parts.
fn between(from: i64, until: i64, part: usize, parts: usize) -> i64 {
    let span = (i128::from(until) - i128::from(from)).max(0);
    from + i64::try_from(span * part as i128 / parts as i128).unwrap_or(0)
}

/// Returns the positions of a non-decreasing sequence that covers as many days as possible, and of these one with the
/// most elements.
fn longest_rising(times: &[i64]) -> Vec<usize> {
    // For the best sequence that ends at each position: its days, its length, and the position before.
    let mut best: Vec<(u64, u64, Option<usize>)> = Vec::with_capacity(times.len());
    for (n, at) in times.iter().enumerate() {
        let after = |before: usize| {
            let (days, numbers, _) = best[before];
            let is_new = u64::from(times[before].div_euclid(DAY) != at.div_euclid(DAY));
            (days + is_new, numbers + 1, Some(before))
        };
        let all = (0..n).filter(|before| times[*before] <= *at).map(after);
        best.push(all.max().unwrap_or((1, 1, None)));
    }
    let mut found = Vec::new();
    let mut next = (0..times.len()).max_by_key(|n| best[*n]);
    while let Some(n) = next {
        found.push(n);
        next = best[n].2;
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_contradict_the_order_are_replaced() {
        let now = 100 * DAY;
        let days = |times: &[Option<i64>]| times.iter().map(|at| at.map(|at| at / DAY)).collect::<Vec<_>>();
        let all = |times: &[i64]| days(&dates(&times.iter().map(|day| day * DAY).collect::<Vec<_>>(), now));
        let some = |times: &[i64]| times.iter().map(|at| Some(*at)).collect::<Vec<_>>();
        assert_eq!(all(&[]), []);
        assert_eq!(all(&[10, 10, 20, 100]), some(&[10, 10, 20, 100]), "right ones stay");
        assert_eq!(all(&[9, 10, 0, 0, 40, 50]), some(&[9, 10, 20, 30, 40, 50]), "set back to the epoch");
        assert_eq!(all(&[10, 90, 40, 50]), some(&[10, 25, 40, 50]), "set ahead, and the clock has passed it");
        assert_eq!(all(&[90, 40, 50]), some(&[40, 40, 50]), "the first one");
        assert_eq!(all(&[20, 50, 60, 4]), some(&[20, 50, 60, 80]), "the last one");
        assert_eq!(all(&[10, 200, 101, 20]), [Some(10), None, None, Some(20)]);
        assert_eq!(all(&[200, 300]), [None, None], "the clock is wrong now");
        assert_eq!(dates(&[i64::MIN, i64::MAX, 0, i64::MIN], i64::MAX).len(), 4, "no number overflows");
        // There are few old states, and one day on which the clock was at the epoch.
        let mut many = vec![20 * DAY, 50 * DAY];
        many.extend((0..24).map(|hour| hour * 3600));
        assert_eq!(days(&dates(&many, now))[..2], some(&[20, 50]));
    }
}
