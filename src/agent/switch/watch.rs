//! Who watches a switch, what they are told, and what they answer. The switch itself does not depend on anybody being there.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    release::{Hooked, WatcherDecision},
    wire::protocol::Response,
};

/// How long whoever is asked may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// And how long they may be away: a connection that broke is opened again.
const AWAY: Duration = Duration::from_secs(15);
/// How long an answer may take that needs no thought.
const AT_ONCE: Duration = Duration::from_secs(3);
/// A wake-up that comes between two looks is seen at the next one.
const LOOK: Duration = Duration::from_millis(100);

/// One switch as it is seen from outside.
#[derive(Clone, Default)]
pub struct SwitchWatch {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    steps: Vec<String>,
    /// Whether the question is open, and how many there were.
    asked: bool,
    questions: usize,
    /// Whose hooks are run before it is answered.
    hooked: Option<Hooked>,
    reply: Option<WatcherDecision>,
    /// Why it is to be taken back.
    abort: Option<String>,
    watchers: usize,
    /// It is over.
    ended: Option<Response>,
}

impl SwitchWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step begins.
    pub fn step(&self, text: impl Into<String>) {
        self.state().steps.push(text.into());
        self.changed.notify_waiters();
    }

    /// It is over.
    pub fn end(&self, answer: Response) {
        self.state().ended = Some(answer);
        self.changed.notify_waiters();
    }

    /// Whether it is not.
    pub fn is_running(&self) -> bool {
        self.state().ended.is_none()
    }

    /// Somebody wants it taken back.
    pub fn abort(&self, why: String) {
        self.state().abort.get_or_insert(why);
    }

    /// Why, if somebody does.
    pub fn aborted(&self) -> Option<String> {
        self.state().abort.clone()
    }

    /// Somebody answered.
    pub fn reply(&self, reply: WatcherDecision) {
        let mut state = self.state();
        if state.asked {
            state.reply = Some(reply);
        }
    }

    /// Asks whoever watches whether the release may be made; `None`: nobody was there to answer. `patient`: they may come back.
    pub async fn ask(&self, patient: bool, hooked: Option<Hooked>) -> Option<WatcherDecision> {
        {
            let mut state = self.state();
            (state.asked, state.hooked) = (true, hooked);
            state.questions += 1;
        }
        self.changed.notify_waiters();
        let (until, mut seen) = (Instant::now() + PATIENCE, Instant::now());
        let away = if patient { AWAY } else { Duration::ZERO };
        loop {
            {
                let mut state = self.state();
                if state.watchers > 0 {
                    seen = Instant::now();
                }
                let gone = state.watchers == 0 && seen.elapsed() >= away;
                if state.reply.is_some() || state.abort.is_some() || Instant::now() > until || gone {
                    state.asked = false;
                    return state.reply.take();
                }
            }
            tokio::time::sleep(LOOK / 2).await;
        }
    }

    /// Asks how a switch that was taken back was felt from outside; `None`: there is no watcher who answers at once.
    pub async fn ask_how_it_was(&self) -> Option<WatcherDecision> {
        {
            let mut state = self.state();
            (state.asked, state.hooked, state.reply) = (true, None, None);
            state.questions += 1;
        }
        self.changed.notify_waiters();
        let until = Instant::now() + AT_ONCE;
        loop {
            {
                let mut state = self.state();
                if state.reply.is_some() || state.watchers == 0 || Instant::now() > until {
                    state.asked = false;
                    return state.reply.take();
                }
            }
            tokio::time::sleep(LOOK / 2).await;
        }
    }

    /// What a watcher who has seen so much is told next.
    pub async fn next(&self, seen: &mut WatchCursor) -> Response {
        loop {
            {
                let state = self.state();
                if let Some(text) = state.steps.get(seen.steps) {
                    seen.steps += 1;
                    return Response::Step { text: text.clone() };
                }
                if state.asked && seen.questions < state.questions {
                    seen.questions = state.questions;
                    return Response::Asked { hooked: state.hooked.clone() };
                }
                if let Some(answer) = &state.ended {
                    return answer.clone();
                }
            }
            let _ = tokio::time::timeout(LOOK, self.changed.notified()).await;
        }
    }

    /// Counts a watcher as long as what is returned lives.
    pub fn watcher(&self) -> Watcher {
        self.state().watchers += 1;
        Watcher(self.clone())
    }
}

/// Somebody watches.
pub struct Watcher(SwitchWatch);

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watchers = state.watchers.saturating_sub(1);
    }
}

/// What a watcher was told already.
#[derive(Default)]
pub struct WatchCursor {
    steps: usize,
    questions: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_there_is_waited_for_and_who_is_not_is_not() {
        let watch = SwitchWatch::default();
        assert_eq!(watch.ask(false, None).await, None, "nobody is there");
        let _here = watch.watcher();
        let (asked, other) = (watch.clone(), watch.clone());
        let reply = tokio::spawn(async move { asked.ask(false, None).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.reply(WatcherDecision { no: Some("too long".into()), ..WatcherDecision::default() });
        assert_eq!(reply.await.unwrap().and_then(|reply| reply.no).as_deref(), Some("too long"));
    }

    #[tokio::test]
    async fn a_switch_that_was_aborted_asks_how_it_was_and_each_question_is_told() {
        use crate::release::Outage;
        let (watch, mut seen) = (SwitchWatch::default(), WatchCursor::default());
        assert_eq!(watch.ask_how_it_was().await, None, "no watcher is there");
        let _here = watch.watcher();
        watch.abort("enough".into());
        for gap in [7, 8] {
            let asked = watch.clone();
            let asked = tokio::spawn(async move { asked.ask_how_it_was().await });
            assert!(matches!(watch.next(&mut seen).await, Response::Asked { hooked: None }));
            watch.reply(WatcherDecision {
                outage: vec![Outage { gap, ..Outage::default() }],
                ..WatcherDecision::default()
            });
            assert_eq!(asked.await.unwrap().unwrap().outage[0].gap, gap);
        }
    }
}
