//! How long the users of what is replaced could not use it: from the moment the old container no longer answered until the new one, or the
//! old one again, answers. The grace period in which a container that is stopped still answers does not count.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{Docker, query_parameters::InspectContainerOptions};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::containers::kept;
use crate::{
    agent::system::node_config::read_config,
    probe::{Prober, Service},
    release::manifest::ReleaseManifest,
};

/// Between two requests to one service.
const EVERY: Duration = Duration::from_millis(25);

/// What is measured during one switch.
#[derive(Default)]
pub struct Measure {
    prober: Option<Prober>,
    containers: Mutex<BTreeMap<String, Away>>,
}

/// A container that is replaced.
#[derive(Default)]
struct Away {
    /// A port of it is asked, which tells more than its process does.
    asked: bool,
    /// When the old one ended, in Unix milliseconds.
    ended: Option<i64>,
    /// Milliseconds until it was healthy.
    gap: Option<u64>,
}

impl Measure {
    /// Begins to ask the TCP ports of `replaced`, which is about to be stopped. `old`: `state/current.json`.
    pub async fn begin(replaced: &[String], old: Option<&serde_json::Value>) -> Self {
        let old = old.and_then(|json| serde_json::from_value::<ReleaseManifest>(json.clone()).ok());
        let address = read_config().ok().and_then(|config| config.address.parse::<IpAddr>().ok());
        let (mut services, mut containers) = (Vec::new(), BTreeMap::new());
        for container in replaced {
            let ports = old.as_ref().map(|old| old.tcp_ports(container)).unwrap_or_default();
            services.extend(ports.iter().zip(address).map(|(port, address)| (container, address, *port)));
            containers.insert(container.clone(), Away::default());
        }
        let service = |&(_, address, port): &(&String, IpAddr, u16)| Service { name: None, address, port };
        let all = services.iter().map(service).collect();
        let prober = Prober::begin(all, address.unwrap_or(IpAddr::from([127, 0, 0, 1])), EVERY).await;
        let asked: Vec<String> = prober.felt().into_iter().map(|felt| felt.service).collect();
        for one in &services {
            if asked.contains(&service(one).title())
                && let Some(away) = containers.get_mut(one.0)
            {
                away.asked = true;
            }
        }
        Self { prober: Some(prober), containers: Mutex::new(containers) }
    }

    /// Of a switch that was interrupted, nothing was asked meanwhile; Docker knows when the old containers ended.
    pub fn interrupted(replaced: &[String]) -> Self {
        let containers = replaced.iter().map(|container| (container.clone(), Away::default())).collect();
        Self { prober: None, containers: Mutex::new(containers) }
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Away>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes when the old containers ended, before they are started again.
    pub async fn ended(&self, docker: &Docker) {
        let names: Vec<String> = self.containers().keys().cloned().collect();
        for container in names {
            // Which of the two it is called depends on how far the switch came.
            let mut ended = None;
            for name in [kept(&container), super::containers::name(&container)] {
                if ended.is_none() {
                    ended = finished(docker, &name).await;
                }
            }
            if let Some(away) = self.containers().get_mut(&container) {
                away.ended = away.ended.or(ended);
            }
        }
    }

    /// It is healthy now.
    pub fn healthy(&self, container: &str) {
        if let Some(away) = self.containers().get_mut(container) {
            away.gap = away.ended.map(|ended| (milliseconds() - ended).max(0).cast_unsigned());
        }
    }

    /// The longest so far; `None`: nothing was replaced.
    pub fn worst(&self) -> Option<u64> {
        let felt = self.prober.iter().flat_map(Prober::felt).map(|felt| felt.gap);
        let containers = self.containers();
        let others = containers.values().filter(|away| !away.asked).filter_map(|away| away.gap);
        felt.chain(others).max()
    }
}

fn milliseconds() -> i64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as i64
}

/// When a container that does not run ended.
async fn finished(docker: &Docker, name: &str) -> Option<i64> {
    let facts = docker.inspect_container(name, None::<InspectContainerOptions>).await.ok()?;
    let state = facts.state.filter(|state| state.running != Some(true))?;
    let ended = OffsetDateTime::parse(&state.finished_at?, &Rfc3339).ok()?;
    // Docker says year 1 of one that never ran.
    (ended.year() > 1).then(|| (ended.unix_timestamp_nanos() / 1_000_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_away_from_its_end_until_it_is_healthy() {
        let measure = Measure::interrupted(&["one".into(), "two".into()]);
        assert_eq!(measure.worst(), None, "nothing is known yet");
        measure.healthy("one");
        assert_eq!(measure.worst(), None, "it never ended");
        measure.containers().get_mut("two").unwrap().ended = Some(milliseconds() - 1500);
        measure.healthy("two");
        let worst = measure.worst().unwrap();
        assert!(worst >= 1500, "{worst}");
        measure.containers().get_mut("two").unwrap().asked = true;
        assert_eq!(measure.worst(), None, "its port tells more");
    }

    #[tokio::test]
    async fn the_time_in_which_the_old_one_still_answers_does_not_count() {
        use tokio::{io::AsyncWriteExt, net::TcpListener};
        let address = lap_base::testing::loopback::own_place();
        let listener = TcpListener::bind(address).await.unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"x").await;
            }
        });
        let service = Service { name: None, address: address.ip(), port: address.port() };
        let prober = Prober::begin(vec![service], address.ip(), EVERY).await;
        let measure = Measure { prober: Some(prober), containers: Mutex::default() };
        // It was told to stop, and answers for as long as this.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let begun = std::time::Instant::now();
        serving.abort();
        let felt = || measure.prober.as_ref().unwrap().felt().remove(0);
        let answered = loop {
            let felt = felt();
            if felt.failed > 2 {
                break felt.requests - felt.failed;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let again = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"x").await;
            }
        });
        while felt().requests - felt().failed <= answered {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (worst, most) = (measure.worst().unwrap(), begun.elapsed() + EVERY * 4);
        assert!(u128::from(worst) <= most.as_millis(), "{worst} ms, and it was away for less than {most:?}");
        again.abort();
    }
}
