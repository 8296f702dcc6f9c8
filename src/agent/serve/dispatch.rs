//! A request and who answers it. Each request is named here once: one that is not answered does not compile.

use std::time::Duration;

use lap_base::error::{Error, Kind, Result};
use lap_snapshots::Reason;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use super::{agent::Agent, archives, facts, files, hold::hold, prune, ready, resolve, switch, tunnel};
use crate::{
    agent::{
        checks, clone_data, copies,
        docker::{self, health, image_files},
        git,
        lock::Grant,
        pool::grow,
        recorded,
        recovery::recovering,
        snapshots,
        system::{
            blocking::run_blocking,
            stream::{Connection, receive, say},
        },
    },
    wire::protocol::{Holder, MAX_PACK, Request, Response},
};

/// Takes one request and answers it.
pub async fn connection(agent: &Agent, mut stream: Connection) {
    let mut line = String::new();
    if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
        return;
    }
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let answer = Error::new(Kind::Usage, format!("the agent does not understand this: {error}"));
            return say(&mut stream, &answer.into()).await;
        }
    };
    let answer = match request {
        // These have the connection for themselves.
        Request::Docker { fence } => return tunnel::docker(&agent.lock, stream, fence).await,
        Request::Registry { fence, write } => return tunnel::registry(&agent.lock, stream, fence, write).await,
        Request::Lock { holder, wait } => return hold(agent, stream, holder, wait).await,
        // No lock: a copy only reads, and what is fetched belongs to nobody else until it is whole.
        Request::CopySnapshot { .. } | Request::FetchSnapshot { .. } => return copies::work(stream, &request).await,
        Request::RestoreSnapshot { holder, wait, id, part } => {
            let act = move |by: &str, note| snapshots::restore(by, &id, part, note);
            return match agent.granted(&mut stream, &holder, wait).await {
                Ok(Some(grant)) => agent.run_with_steps(stream, grant, holder, act).await,
                Ok(None) => {}
                Err(error) => say(&mut stream, &error.into()).await,
            };
        }
        Request::IntoSnapshot { holder, wait, sent, bring } => {
            return archives::clone_data(agent, stream, (holder, wait), sent, bring).await;
        }
        Request::Switch { holder, wait, order } => return switch::begin(agent, stream, holder, wait, *order).await,
        Request::WatchSwitch => return switch::watch(agent, stream).await,
        Request::Prune { holder, wait, dry_run, rules } => {
            return prune::prune(agent, stream, holder, wait, (dry_run, rules)).await;
        }
        Request::GiveObjects { repository, commit, alone } => {
            return match git::give(&repository, &commit, alone, MAX_PACK as usize).await {
                Ok(pack) => {
                    say(&mut stream, &Response::Objects { size: pack.len() as u64 }).await;
                    let _ = stream.write_all(&pack).await;
                }
                Err(error) => say(&mut stream, &error.into()).await,
            };
        }
        // What the node is and has.
        Request::Facts => Ok(facts_of(agent).await),
        Request::Ready { seconds } => ready::ready(Duration::from_secs(seconds)).await.map(|()| Response::Done),
        Request::AwaitHealthy { container, seconds } => await_healthy(&container, Duration::from_secs(seconds)).await,
        // No lock: a check changes nothing.
        Request::Check { containers } => checks::answer(&mut stream, &containers).await,
        Request::Resolve { vantage, servers, questions } => resolve::resolve(vantage, servers, questions).await,
        // Files, images and Git objects.
        Request::Install { fence, place, size } => files::install(agent, &mut stream, fence, place, size).await,
        Request::Uninstall { fence, place } => files::uninstall(agent, fence, &place),
        Request::MakeData { fence, containers, sources } => files::make_data(agent, fence, &containers, sources).await,
        Request::Upgrade { build, size } => files::upgrade(agent, &mut stream, &build, size).await,
        Request::SaveImage { fence, image, file } => match agent.lock.check(fence) {
            Ok(()) => image_files::save(&image, &file).await.map(|()| Response::Done),
            Err(error) => Err(error),
        },
        Request::LoadImage { fence, file } => match agent.lock.check(fence) {
            Ok(()) => image_files::load(&file).await.map(|()| Response::Done),
            Err(error) => Err(error),
        },
        Request::Branch { repository, branch, wanted } => find_branch(&repository, &branch, wanted.as_deref()).await,
        Request::TakeObjects { fence, repository, size } => {
            take_objects(agent, &mut stream, fence, &repository, size).await
        }
        // Snapshots.
        Request::TakeSnapshot { holder, wait, note, max_pause } => {
            let most = max_pause.map(Duration::from_micros);
            let act = move |by: &str| snapshots::take(by, Reason::Asked, note, most);
            under_lock(agent, &mut stream, holder, wait, act).await
        }
        Request::RemoveSnapshot { holder, wait, id } => {
            making_room(agent, &mut stream, holder, wait, move |_| snapshots::remove(&id)).await
        }
        Request::PruneSnapshots { dry_run: true, holder: _, wait: _ } => run_blocking(|| snapshots::prune(true)).await,
        Request::PruneSnapshots { holder, wait, dry_run: false } => {
            making_room(agent, &mut stream, holder, wait, |_| snapshots::prune(false)).await
        }
        Request::AdoptState { holder, wait, id } => {
            under_lock(agent, &mut stream, holder, wait, move |_| snapshots::adopt(&id)).await
        }
        Request::ListSnapshots { sizes } => run_blocking(move || snapshots::list(sizes)).await,
        Request::ShowSnapshot { id } => run_blocking(move || snapshots::show(&id)).await,
        Request::DiffSnapshots { from, to } => run_blocking(move || snapshots::diff(&from, to.as_deref())).await,
        Request::ExportSnapshot { id } => archives::export(&mut stream, &id).await,
        Request::ImportSnapshot { holder, wait } => archives::import(agent, &mut stream, holder, wait).await,
        Request::SendSnapshot { id, parent, archive } => {
            archives::send(&mut stream, &id, parent.as_ref(), archive).await
        }
        Request::ListReceived { from } => run_blocking(move || clone_data::received(&from)).await,
        Request::NoteCopies { repository, news } => run_blocking(move || copies::hear(repository, news)).await,
        Request::GrowPool { holder, wait, disk } => {
            making_room(agent, &mut stream, holder, wait, move |_| grow::to(disk)).await
        }
        // Releases.
        Request::AbortSwitch { by } => switch::abort(agent, &by),
        Request::Releases => run_blocking(recorded::list).await,
        Request::RecordRelease { holder, wait, number } => {
            under_lock(agent, &mut stream, holder, wait, move |_| recorded::record(number)).await
        }
    };
    say(&mut stream, &answer.unwrap_or_else(Response::from)).await;
}

/// Does `act` under the lock. Where the lock is not to be had, the client knows that already.
async fn under_lock(
    agent: &Agent,
    stream: &mut Connection,
    holder: Holder,
    wait: bool,
    act: impl FnOnce(&str) -> Result<Response> + Send + 'static,
) -> Result<Response> {
    let grant: Option<Grant> = agent.granted(stream, &holder, wait).await?;
    match grant {
        Some(grant) => agent.run_locked(grant, holder, act).await,
        None => Ok(Response::Done),
    }
}

/// The same for what makes room on the disk.
async fn making_room(
    agent: &Agent,
    stream: &mut Connection,
    holder: Holder,
    wait: bool,
    act: impl FnOnce(&str) -> Result<Response> + Send + 'static,
) -> Result<Response> {
    match agent.granted(stream, &holder, wait).await? {
        Some(grant) => agent.making_room(grant, holder, act).await,
        None => Ok(Response::Done),
    }
}

async fn facts_of(agent: &Agent) -> Response {
    let mut facts = facts::collect().await;
    facts.lock = agent.lock.held();
    facts.recovery = recovering(&agent.lock, &agent.recovery);
    let (unfinished, unreadable) =
        agent.journal(|journal| (journal.unfinished().cloned(), journal.unreadable().cloned()));
    facts.unfinished = unfinished;
    facts.unreadable.extend(unreadable.into_iter().chain(agent.lock.unreadable()));
    Response::Facts(Box::new(facts))
}

async fn await_healthy(container: &str, patience: Duration) -> Result<Response> {
    let docker = docker::connect().await?;
    health::await_healthy(&docker, container, patience).await.map(|()| Response::Done)
}

async fn find_branch(repository: &str, branch: &str, wanted: Option<&str>) -> Result<Response> {
    let at = git::at(repository, branch).await?;
    let has = match wanted {
        Some(commit) => git::has(repository, commit).await?,
        None => false,
    };
    Ok(Response::Branch { at, has })
}

async fn take_objects(
    agent: &Agent,
    stream: &mut Connection,
    fence: u64,
    repository: &str,
    size: u64,
) -> Result<Response> {
    let pack = receive(stream, size, MAX_PACK).await?;
    agent.lock.check(fence)?;
    git::take(repository, &pack).await.map(|()| Response::Done)
}
