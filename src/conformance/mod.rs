//! `lap doctor --conformance`: the same scenarios on every kind of node, in a lab that is made for them and is gone afterwards. What they do is
//! what a person does: they call this very program, and look from outside at what came of it.

pub mod bare;
mod files;
mod lap;
mod play;
mod power;
mod room;
pub mod scenario;

use std::time::Instant;

use lap_base::error::{Error, Kind, OrError, Result};
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

pub use self::bare::Bare;
use self::{
    play::Stage,
    room::Sandbox,
    scenario::{On, Scenario, ScenarioResult},
};
use crate::{apply::options::Options, report::Event};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioRow {
    pub scenario: &'static str,
    pub provider: On,
    #[serde(flatten)]
    pub ended: ScenarioResult,
    pub seconds: f64,
}

/// Plays all scenarios on nodes of this kind, in a lab of this name. Nothing of it is left, however it ends. `bare`: the machine that is
/// the node, if it is one that exists.
///
/// # Errors
/// There is such a lab already, somebody does the same, it was stopped, or what was made cannot be removed. That a scenario fails is
/// none: it is in the rows.
pub async fn conformance(name: &str, on: On, bare: Option<Bare>, options: &Options) -> Result<Vec<ScenarioRow>> {
    let stop = any_stop(options.stop.clone())?;
    let room = Sandbox::take(name, &stop, options).await?;
    let furnished = room.furnish(on, bare.as_ref()).await;
    if furnished.is_err() {
        room.clear(options).await?;
    }
    let mut stage = Stage::new(furnished?, on, bare, stop.clone());
    let rows = play_all(&mut stage, on, options, &stop).await;
    // Also when it was stopped.
    room.clear(options).await?;
    if *stop.borrow() {
        return Err(Error::new(Kind::Interrupted, "stopped; everything was removed"));
    }
    Ok(rows)
}

async fn play_all(stage: &mut Stage, on: On, options: &Options, stop: &watch::Receiver<bool>) -> Vec<ScenarioRow> {
    let titles = Scenario::ALL.map(|scenario| title(scenario, on)).to_vec();
    options.events.tell(Event::Plan { environment: on.name().to_owned(), titles });
    let begun = Instant::now();
    let mut rows: Vec<ScenarioRow> = Vec::new();
    for (step, scenario) in Scenario::ALL.into_iter().enumerate() {
        if *stop.borrow() {
            break;
        }
        let (title, begun) = (title(scenario, on), Instant::now());
        options.events.tell(Event::Started { step, title: title.clone() });
        let line = |line: &str| options.events.output(step, line);
        let ended = match missing(scenario, &rows) {
            Some(why) => ScenarioResult::NotTried(why),
            None => stage.play(scenario, &line).await,
        };
        let seconds = begun.elapsed().as_secs_f64();
        options.events.tell(match &ended {
            ScenarioResult::Failed(message) => Event::Failed { step, title, seconds, message: message.clone() },
            ScenarioResult::Passed => Event::Done { step, title, seconds },
            ScenarioResult::NotPossible(why) | ScenarioResult::NotTried(why) => {
                Event::Done { step, title: format!("{title}: not tried, {why}"), seconds }
            }
        });
        rows.push(ScenarioRow { scenario: scenario.name(), provider: on, ended, seconds });
    }
    let count = |of: &dyn Fn(&ScenarioResult) -> bool| rows.iter().filter(|row| of(&row.ended)).count();
    let (done, failed) = (count(&|e| *e == ScenarioResult::Passed), count(&|e| matches!(e, ScenarioResult::Failed(_))));
    let left = Scenario::ALL.len() - done - failed;
    options.events.tell(Event::Ended { done, failed, left, seconds: begun.elapsed().as_secs_f64() });
    rows
}

fn title(scenario: Scenario, on: On) -> String {
    format!("{} on {}", scenario.name(), on.name())
}

/// Why a scenario is not tried, if it is not.
fn missing(scenario: Scenario, rows: &[ScenarioRow]) -> Option<String> {
    let needs = scenario.needs()?;
    let passed = rows.iter().any(|row| row.scenario == needs.name() && row.ended == ScenarioResult::Passed);
    (!passed).then(|| format!("`{}` did not pass", needs.name()))
}

/// Turns true on Ctrl-C, and when whoever started this wants it to end: what was made must go in any case.
fn any_stop(mut stop: watch::Receiver<bool>) -> Result<watch::Receiver<bool>> {
    let listen = |kind| signal(kind).or_error(Kind::Host, || "cannot listen to signals".into());
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            () = async { if stop.wait_for(|stop| *stop).await.is_err() { std::future::pending().await } } => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        let _ = sender.send(true);
        // Nobody listens any more: then there is nothing to keep it for.
        sender.closed().await;
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::{
        scenario::{On, Scenario, ScenarioResult},
        *,
    };

    fn row(scenario: Scenario, ended: ScenarioResult) -> ScenarioRow {
        ScenarioRow { scenario: scenario.name(), provider: On::Docker, ended, seconds: 1.0 }
    }

    #[test]
    fn what_needs_another_one_is_not_tried_without_it() {
        assert_eq!(missing(Scenario::Boot, &[]), None);
        assert_eq!(missing(Scenario::Destroy, &[]), None);
        let failed = [row(Scenario::Boot, ScenarioResult::Failed("no".into()))];
        assert_eq!(missing(Scenario::Ssh, &failed).as_deref(), Some("`boot` did not pass"));
        let passed = [
            row(Scenario::Boot, ScenarioResult::Passed),
            row(Scenario::Halt, ScenarioResult::NotPossible("no".into())),
        ];
        assert_eq!(missing(Scenario::Ssh, &passed), None);
        assert_eq!(missing(Scenario::BootAgain, &passed).as_deref(), Some("`halt` did not pass"));
    }

    #[test]
    fn every_scenario_comes_after_what_it_needs() {
        for (at, scenario) in Scenario::ALL.into_iter().enumerate() {
            assert!(scenario.needs().is_none_or(|needs| Scenario::ALL[..at].contains(&needs)), "{scenario:?}");
        }
    }

    #[test]
    fn a_row_says_why() {
        let text = |ended| serde_json::to_string(&row(Scenario::Ssh, ended)).unwrap();
        assert_eq!(
            text(ScenarioResult::NotPossible("no".into())),
            r#"{"scenario":"ssh","provider":"docker","result":"not-possible","why":"no","seconds":1.0}"#
        );
        assert!(text(ScenarioResult::Passed).contains(r#""result":"passed""#));
    }
}
