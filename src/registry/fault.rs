//! What can go wrong between here and a registry, and whether it is worth another try.

use std::time::Duration;

use hyper::StatusCode;
use lap_base::error::{Error, Kind, Result};
use serde::Deserialize;

/// Before the second try, the third, …
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500), Duration::from_millis(4000)];
/// For so long a registry may take connections and end them before the TLS handshake is done: it starts, or the machine is slow.
const STARTING: Duration = Duration::from_secs(60);

/// Why a request came to nothing.
#[derive(Debug)]
pub struct RegistryFault {
    pub error: Error,
    /// A connection that broke, a registry that is in trouble: the next try may be better.
    pub again: bool,
    /// The registry took the connection and ended it before the TLS handshake was done.
    pub starting: bool,
}

impl RegistryFault {
    /// Worth another try.
    pub fn broken(message: impl Into<String>) -> Self {
        let error = Error::new(Kind::Node, message).hint("run the command again: it does not send received data again");
        Self { error, again: true, starting: false }
    }

    /// A refusal that will be the same next time.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { error: Error::new(Kind::Node, message), again: false, starting: false }
    }

    /// The same before the TLS handshake was done.
    #[must_use]
    pub fn while_it_starts(self) -> Self {
        Self { starting: true, ..self }
    }
}

impl From<Error> for RegistryFault {
    /// A registry that cannot be reached may be there in a moment; a lost lock does not come back.
    fn from(error: Error) -> Self {
        Self { again: error.kind.is_of_node(), error, starting: false }
    }
}

/// Tries until it works, is refused, or failed a few times without getting further. `progress` is a number that grows while
/// something moves.
///
/// # Errors
/// The last try's.
pub async fn persist<T, F>(progress: impl Fn() -> u64, act: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, RegistryFault>>,
{
    pausing(&PAUSES, STARTING, progress, act).await
}

async fn pausing<T, F>(
    pauses: &[Duration],
    starting: Duration,
    progress: impl Fn() -> u64,
    mut act: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T, RegistryFault>>,
{
    // Tries while it starts do not count against those of an ordinary fault.
    let (mut tried, mut waited, mut reached) = (0, 0, progress());
    let mut begun = tokio::time::Instant::now();
    loop {
        let fault = match act().await {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        if progress() > reached {
            (tried, waited, reached) = (0, 0, progress());
            begun = tokio::time::Instant::now();
        }
        let starts = fault.starting && begun.elapsed() < starting;
        let pause = if starts { pauses.get(waited).or(pauses.last()) } else { pauses.get(tried) };
        match pause {
            Some(pause) if fault.again => tokio::time::sleep(*pause).await,
            _ => return Err(fault.error),
        }
        *(if starts { &mut waited } else { &mut tried }) += 1;
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<SaidOne>,
}

#[derive(Deserialize)]
struct SaidOne {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: serde_json::Value,
}

/// An answer that is not what was asked for, as a fault: what the registry says in its own words, on one line.
pub fn unexpected(registry: &str, what: &str, status: StatusCode, body: &[u8]) -> RegistryFault {
    let said = serde_json::from_slice::<ErrorBody>(body).map(|said| said.errors).unwrap_or_default();
    let words = said.first().map(|one| {
        let mut words = if one.message.is_empty() { one.code.clone() } else { one.message.clone() };
        // Where the storage fails, only the detail says how.
        if one.code == "UNKNOWN" && !one.detail.is_null() {
            words = format!("{words}: {}", one.detail);
        }
        words
    });
    let words = words.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason").to_owned());
    let message = format!("{registry} {what}: status {}, {words}", status.as_u16());
    if status == StatusCode::UNAUTHORIZED {
        let hint = "if another operator replaced the password, import their keys first (docs/registry.md); `lap up` gives the registry the password of this workspace's keys";
        let error = Error::new(Kind::Keys, message).hint(hint);
        return RegistryFault { error, again: false, starting: false };
    }
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        RegistryFault::broken(message)
    } else {
        RegistryFault::refused(message)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_a_registry_says_is_one_sentence() {
        let said = |status: u16, body: &str| {
            let fault =
                unexpected("the registry of `prod`", "refuses a layer", status.try_into().unwrap(), body.as_bytes());
            (fault.error.message, fault.again)
        };
        let full = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Err":28}}]}"#;
        assert_eq!(
            said(500, full),
            ("the registry of `prod` refuses a layer: status 500, unknown error: {\"Err\":28}".into(), true)
        );
        let denied = r#"{"errors":[{"code":"DENIED","message":"requested access is denied","detail":null}]}"#;
        let message = "the registry of `prod` refuses a layer: status 403, requested access is denied";
        assert_eq!(said(403, denied), (message.into(), false));
        assert_eq!(
            said(404, "<html>"),
            ("the registry of `prod` refuses a layer: status 404, Not Found".into(), false)
        );
        assert!(said(503, "").1);
    }

    #[tokio::test]
    async fn a_few_times_without_progress_and_as_often_as_it_gets_further() {
        let tries = Cell::new(0);
        let count = || {
            tries.set(tries.get() + 1);
            tries.get().to_string()
        };
        let pauses = [Duration::ZERO; 4];
        let broken = || async { Err::<(), _>(RegistryFault::broken(count())) };
        let long = Duration::from_secs(600);
        let error = pausing(&pauses, long, || 0, broken).await.unwrap_err();
        assert_eq!(error.message, "5", "the first, and one after each pause");
        tries.set(0);
        pausing(&pauses, long, || 0, || async { Err::<(), _>(RegistryFault::refused(count())) }).await.unwrap_err();
        assert_eq!(tries.get(), 1);
        tries.set(0);
        let error = pausing(&pauses, long, || tries.get().min(20), broken).await.unwrap_err();
        assert_eq!(error.message, "24");
        // One that starts is asked until it is there, or the time is over.
        tries.set(0);
        let starts = || async {
            let fault = RegistryFault::broken(count()).while_it_starts();
            if tries.get() < 50 { Err(fault) } else { Ok(()) }
        };
        pausing(&pauses, long, || 0, starts).await.unwrap();
        tries.set(0);
        let error = pausing(&pauses, Duration::ZERO, || 0, starts).await.unwrap_err();
        assert_eq!(error.message, "5");
    }
}
