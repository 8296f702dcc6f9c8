//! Watches what the agent does: tells each step, feels the services, has the last word.

use std::{cell::Cell, collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    state::{State, Unreadable},
};

use super::{hooks, prober::EVERY};
use crate::{
    apply::{master::Master, options::Options, responses::unexpected},
    probe::{Prober, Service},
    release::{Hooked, LedgerEntry, WatcherDecision, manifest::ReleaseManifest},
    wire::protocol::{Request, Response},
};

/// How often a connection that broke is opened again.
const AGAIN: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(500);

/// All that ran on an environment.
pub struct Releases {
    pub list: BTreeMap<u64, State<ReleaseManifest>>,
    /// Without the entries that cannot be read.
    pub ledger: Vec<LedgerEntry>,
    /// Hash of the newest entry, or why the chain is broken.
    pub chain: std::result::Result<String, Unreadable>,
    /// A number that no release had.
    pub next: u64,
}

/// Asks for what ran.
///
/// # Errors
/// The node does not answer.
pub async fn releases(master: &Master) -> Result<Releases> {
    match master.node.client.ask(&Request::Releases, &[]).await? {
        Response::Releases { list, ledger, chain, next } => {
            let what = || format!("the agent of `{}` names a release without a number", master.environment.master);
            let number = |(number, release): (String, _)| Ok((number.parse().or_error(Kind::Node, what)?, release));
            Ok(Releases { list: list.into_iter().map(number).collect::<Result<_>>()?, ledger, chain, next })
        }
        other => Err(unexpected(&other)),
    }
}

impl Releases {
    /// The release of this number.
    ///
    /// # Errors
    /// There is none, or its file cannot be read.
    pub fn release(&self, environment: &str, number: u64) -> Result<&ReleaseManifest> {
        match self.list.get(&number) {
            Some(State::Value(release)) => Ok(release),
            Some(State::Unreadable(unreadable)) => Err(Error::from(unreadable.clone()).hint(format!(
                "`lap release record {number} --env {environment}` writes it again if a snapshot contains it"
            ))),
            Some(State::Absent) | None => {
                Err(Error::new(Kind::Usage, format!("`{environment}` has no release {number}"))
                    .hint(format!("`lap release list {environment}` shows them")))
            }
        }
    }

    /// The ledger, for those who decide by it.
    ///
    /// # Errors
    /// It is damaged.
    pub fn whole_ledger(&self) -> Result<&[LedgerEntry]> {
        self.chain.as_ref().map_err(|why| Error::from(why.clone()))?;
        Ok(&self.ledger)
    }
}

/// Asks for a switch (or to watch one) and stays with it to its end. `asked` turns true when the agent asks for the last word.
pub(super) async fn follow(
    master: &Arc<Master>,
    request: &Request,
    services: Vec<Service>,
    max_outage: Option<Duration>,
    asked: &Cell<bool>,
    options: &Options,
) -> Result<(LedgerEntry, String)> {
    let prober = Prober::begin(services, IpAddr::from(master.address()), EVERY).await;
    let last_word = async |hooked: Option<Hooked>| {
        asked.set(true);
        let outage = prober.felt();
        let worst = outage.iter().max_by_key(|outage| outage.gap);
        let no = worst.zip(max_outage).filter(|(worst, most)| u128::from(worst.gap) > most.as_millis()).map(
            |(worst, most)| {
                format!(
                    "the outage of `{}` lasted {} ms, longer than the limit of {} ms",
                    worst.service,
                    worst.gap,
                    most.as_millis()
                )
            },
        );
        let no = match (no, hooked) {
            (None, Some(hooked)) => hooks::last_word(master, &hooked, options).await?.err().map(|error| error.message),
            (no, _) => no,
        };
        Ok(WatcherDecision { no, outage })
    };
    let mut stop = options.stop.clone();
    let mut request = request.clone();
    let mut tries = 0;
    let step = |text: &str| options.events.note(format!("  {text}"));
    loop {
        let following = master.node.client.switch(&request, options.wait, master.node.busy(options), step, last_word);
        let followed = tokio::select! {
            followed = following => followed,
            _ = stop.wait_for(|stop| *stop) => {
                let name = &master.environment.name;
                return Err(Error::new(Kind::Interrupted, format!("stopped watching; `{name}` continues"))
                    .hint(format!("`lap promote --resume --to {name}` watches it again, `--abort` takes it back")));
            }
        };
        match followed {
            // The node went down, and its connection with it: trying again on this connection would only take time.
            Err(error) if error.kind.is_of_node() && master.node.client.is_disconnected() => {
                let name = &master.environment.name;
                let begun = if matches!(request, Request::WatchSwitch) { "" } else { "if it began, " };
                return Err(error.hint(format!(
                    "{begun}`{name}` completes it or takes it back by itself: `lap promote --resume --to {name}` shows which"
                )));
            }
            Err(error) if error.kind.is_of_node() && tries < AGAIN && matches!(request, Request::WatchSwitch) => {
                tries += 1;
                tokio::time::sleep(BETWEEN).await;
            }
            // Whether it was begun shows when it is watched.
            Err(error) if error.kind == Kind::Disconnected && tries == 0 => {
                options.events.note(format!("  {}: checking its state", error.message));
                request = Request::WatchSwitch;
            }
            followed => return followed,
        }
    }
}

/// Watches the switch that is under way; gives, too, what the hook after it says. `None`: no switch is under way.
///
/// # Errors
/// The node does not answer; or the switch's hooks are of a commit that nobody here agreed to, and they are not run from here.
pub async fn resume(master: &Arc<Master>, options: &Options) -> Result<Option<(LedgerEntry, String, Option<Error>)>> {
    let asked = Cell::new(false);
    let watched = follow(master, &Request::WatchSwitch, Vec::new(), None, &asked, options).await;
    let (entry, hash) = match watched {
        Err(error) if error.kind == Kind::Refused && !asked.get() => {
            options.events.note(error.message);
            return Ok(None);
        }
        watched => watched?,
    };
    let complaint = hooks::after_done(master, &entry, options).await.err();
    Ok(Some((entry, hash, complaint)))
}

/// Has the switch that is under way taken back, and watches that.
///
/// # Errors
/// None is.
pub async fn abort(master: &Arc<Master>, options: &Options) -> Result<(LedgerEntry, String)> {
    master.node.client.ask(&Request::AbortSwitch { by: options.who.clone() }, &[]).await?;
    follow(master, &Request::WatchSwitch, Vec::new(), None, &Cell::new(false), options).await
}
