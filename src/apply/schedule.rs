//! Carries a plan out: a step begins as soon as all before it are done, so what is independent runs at the same time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lap_base::error::{Error, Kind, Result};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};

use crate::{
    plan::{Action, Plan},
    report::{Event, Events, LineSink, StepId},
};

/// How long what was asked for already is waited for, when somebody wants to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Who can do the actions of a plan.
#[async_trait]
pub trait Perform: Send + Sync + 'static {
    /// Does it. `line` shows what it prints.
    ///
    /// # Errors
    /// Whatever went wrong, in one sentence that names the thing.
    async fn perform(&self, action: &Action, line: &LineSink<'_>) -> Result<()>;

    /// Called before a step begins: it must be on record first. An error stops the plan.
    async fn begins(&self, _title: &str) -> Result<()> {
        Ok(())
    }

    /// Called when a step is done.
    async fn did(&self, _title: &str) {}
}

/// What became of a plan.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub done: Vec<String>,
    pub failed: Vec<String>,
    /// Not begun, or interrupted.
    pub left: Vec<String>,
    pub seconds: f64,
}

/// Carries `plan` out. After a failure nothing new begins, and what runs is waited for; `stop` (Ctrl-C) interrupts what
/// runs, but for what somebody else was asked for, who does it in any case. The error is the first one; what else failed at
/// the same time is a hint of it.
pub async fn carry_out(
    plan: &Plan,
    performer: Arc<dyn Perform>,
    events: &Events,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> (Report, Result<()>) {
    let began = Instant::now();
    let titles: Vec<String> = plan.steps.iter().map(|step| step.action.to_string()).collect();
    events.tell(Event::Plan { environment: plan.environment.clone(), titles: titles.clone() });
    let mut waiting: BTreeSet<StepId> = (0..plan.steps.len()).collect();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut running: JoinSet<(StepId, Result<()>, f64)> = JoinSet::new();
    let mut in_flight: BTreeSet<StepId> = BTreeSet::new();
    let mut report = Report::default();
    let mut first: Option<Error> = None;
    let mut also: Vec<(String, String)> = Vec::new();
    let mut stop = stop.clone();
    // Stopped at once, and until when the others are waited for.
    let (mut ours, mut until): (Vec<AbortHandle>, Option<tokio::time::Instant>) = (Vec::new(), None);
    // Builds and starts are heavy; waiting for health is not, and must not keep others from starting.
    let heavy = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, |n| n.get().max(2)) * 2));
    loop {
        if first.is_none() {
            let ready: Vec<StepId> = waiting
                .iter()
                .copied()
                .filter(|step| plan.steps[*step].after.iter().all(|before| done.contains(before)))
                .collect();
            for step in ready {
                waiting.remove(&step);
                in_flight.insert(step);
                let (action, title) = (plan.steps[step].action.clone(), titles[step].clone());
                let (performer, events, heavy) = (performer.clone(), events.clone(), heavy.clone());
                let asks = goes_on_without_us(&action);
                let spawned = running.spawn(async move {
                    let permit = if is_heavy(&action) { heavy.acquire_owned().await.ok() } else { None };
                    let began = Instant::now();
                    events.tell(Event::Started { step, title: title.clone() });
                    let line = |text: &str| events.output(step, text);
                    let mut result = performer.begins(&title).await;
                    if result.is_ok() {
                        result = performer.perform(&action, &line).await;
                    }
                    if result.is_ok() {
                        performer.did(&title).await;
                    }
                    drop(permit);
                    (step, result, began.elapsed().as_secs_f64())
                });
                if !asks {
                    ours.push(spawned);
                }
            }
        }
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = stopped(&mut stop), if until.is_none() => {
                first.get_or_insert_with(|| Error::new(Kind::Interrupted, "stopped"));
                ours.iter().for_each(AbortHandle::abort);
                until = Some(tokio::time::Instant::now() + GRACE);
                continue;
            }
            () = over(until) => {
                running.abort_all();
                while running.join_next().await.is_some() {}
                None
            }
        };
        let Some(ended) = ended else { break };
        match ended {
            Ok((step, Ok(()), seconds)) => {
                in_flight.remove(&step);
                done.insert(step);
                report.done.push(titles[step].clone());
                events.tell(Event::Done { step, title: titles[step].clone(), seconds });
            }
            Ok((step, Err(error), seconds)) => {
                in_flight.remove(&step);
                report.failed.push(titles[step].clone());
                let (title, message) = (titles[step].clone(), error.message.clone());
                events.tell(Event::Failed { step, title: title.clone(), seconds, message });
                match &first {
                    None => first = Some(error),
                    Some(first) if first.message == error.message => {}
                    Some(_) => also.push((title, error.message)),
                }
            }
            // Stopped in the middle: it is left.
            Err(join) if join.is_cancelled() => {}
            Err(join) => {
                first.get_or_insert_with(|| Error::new(Kind::Other, format!("a step ended with a panic: {join}")));
            }
        }
    }
    report.left = in_flight.union(&waiting).map(|step| titles[*step].clone()).collect();
    report.seconds = began.elapsed().as_secs_f64();
    events.tell(Event::Ended {
        done: report.done.len(),
        failed: report.failed.len(),
        left: report.left.len(),
        seconds: report.seconds,
    });
    let result = match first {
        None => Ok(()),
        Some(error) if error.kind == Kind::Interrupted => Err(interrupted(&report)),
        Some(error) => {
            let with = |error: Error, (title, message)| error.hint(format!("it also failed to {title}: {message}"));
            Err(also.into_iter().fold(error, with))
        }
    };
    (report, result)
}

fn interrupted(report: &Report) -> Error {
    let of = report.done.len() + report.failed.len() + report.left.len();
    let mut message = format!("stopped; {} of {of} steps are done", report.done.len());
    for (word, titles) in [("done", &report.done), ("left", &report.left)] {
        for title in titles {
            message.push_str(&format!("\n  {word} {title}"));
        }
    }
    Error::new(Kind::Interrupted, message).hint("run the same command again: it continues")
}

fn is_heavy(action: &Action) -> bool {
    !matches!(action, Action::AwaitHealthy { .. } | Action::AwaitNode { .. })
}

/// Whether somebody was asked who does it whether we wait or not: a node that is made while nobody looks would be there after a
/// `lap destroy` that found none.
fn goes_on_without_us(action: &Action) -> bool {
    matches!(
        action,
        Action::MakeNetwork { .. }
            | Action::MakeNode { .. }
            | Action::RemoveNode { .. }
            | Action::RemoveNodeData { .. }
            | Action::RemoveNetwork
    )
}

async fn over(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    // Nobody can stop it any more: then it runs to its end.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Fake {
        order: Mutex<Vec<String>>,
        fails: Option<&'static str>,
        hangs: Option<&'static str>,
    }

    #[async_trait]
    impl Perform for Fake {
        async fn perform(&self, action: &Action, _line: &LineSink<'_>) -> Result<()> {
            let title = action.to_string();
            if self.hangs.is_some_and(|hangs| title.contains(hangs)) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(if title.contains("network") { 300 } else { 5 })).await;
            if self.fails.is_some_and(|fails| title.contains(fails)) {
                return Err(Error::new(Kind::Build, format!("cannot {title}")));
            }
            self.order.lock().unwrap().push(title);
            Ok(())
        }
    }

    fn plan() -> Plan {
        let mut plan = Plan::new("test");
        let remove = |name: &str| Action::Remove { container: name.into() };
        let a = plan.push(remove("a"), "", []);
        let b = plan.push(remove("b"), "", [a]);
        plan.push(remove("c"), "", [b]);
        plan.push(remove("d"), "", []);
        plan
    }

    async fn run(fails: Option<&'static str>, hangs: Option<&'static str>) -> (Report, Result<()>, Vec<String>) {
        run_plan(&plan(), fails, hangs).await
    }

    async fn run_plan(
        plan: &Plan,
        fails: Option<&'static str>,
        hangs: Option<&'static str>,
    ) -> (Report, Result<()>, Vec<String>) {
        let fake = Arc::new(Fake { order: Mutex::default(), fails, hangs });
        let (send, stop) = tokio::sync::watch::channel(false);
        if let Some(hangs) = hangs {
            let fake = fake.clone();
            tokio::spawn(async move {
                // When nothing but what hangs, or takes its time, is under way.
                let is_done = |name: &str| fake.order.lock().unwrap().iter().any(|title| title.contains(name));
                while !["`a`", "`d`"].iter().all(|name| *name == hangs || is_done(name)) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let _ = send.send(true);
            });
        }
        let (report, result) = carry_out(plan, fake.clone(), &Events::nowhere(), &stop).await;
        let order = fake.order.lock().unwrap().clone();
        (report, result, order)
    }

    #[tokio::test]
    async fn in_order_and_all() {
        let (report, result, order) = run(None, None).await;
        result.unwrap();
        assert_eq!(report.done.len(), 4);
        let at = |name: &str| order.iter().position(|o| o.contains(name)).unwrap();
        assert!(at("`a`") < at("`b`") && at("`b`") < at("`c`"));
    }

    #[tokio::test]
    async fn after_a_failure_nothing_new_begins() {
        let (report, result, _) = run(Some("`b`"), None).await;
        assert_eq!(result.unwrap_err().kind, Kind::Build);
        assert_eq!((report.failed.len(), report.left.as_slice()), (1, &["remove `c`".to_owned()][..]));
    }

    #[tokio::test]
    async fn all_that_failed_at_the_same_time_is_told() {
        let (report, result, _) = run(Some("remove"), None).await;
        let error = result.unwrap_err();
        assert_eq!(report.failed.len(), 2);
        let [first, second] = [0, 1].map(|n| report.failed[n].clone());
        assert_eq!(error.message, format!("cannot {first}"));
        assert_eq!(error.hints, [format!("it also failed to {second}: cannot {second}")]);
    }

    #[tokio::test]
    async fn what_docker_was_asked_for_is_waited_for() {
        let mut plan = plan();
        plan.push(Action::RemoveNetwork, "", []);
        let (report, result, order) = run_plan(&plan, None, Some("`a`")).await;
        assert_eq!(result.unwrap_err().kind, Kind::Interrupted);
        assert!(order.iter().any(|title| title.contains("network")), "{order:?}");
        assert_eq!(report.left, ["remove `a`", "remove `b`", "remove `c`"]);
    }

    #[tokio::test]
    async fn stopping_says_what_is_left() {
        let (report, result, _) = run(None, Some("`b`")).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted);
        assert!(error.message.contains("2 of 4 steps are done"), "{error}");
        assert_eq!(report.left, ["remove `b`", "remove `c`"]);
    }
}
