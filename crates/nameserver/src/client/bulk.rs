//! Many questions at once, as a resolver would ask them: at the first server that answers.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::query::query;

/// So many questions are under way at the same time: enough to hide the way there and back, few enough for any socket
/// buffer.
const AT_ONCE: usize = 64;
/// A server that is there needs a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server said to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryResult {
    /// The data of the records, as a zone file has it.
    Records(Vec<String>),
    /// None, with this response code (`NXDOMAIN`; `NOERROR`: there are only records of other types).
    Code(String),
    /// Nothing in time, or the question could not be asked.
    Nothing(String),
}

/// Asks every question (name, type) at the first of `servers` that says anything, and gives that server. No servers:
/// nothing is asked.
pub async fn ask_all(servers: &[SocketAddr], questions: &[(String, String)]) -> (Option<SocketAddr>, Vec<QueryResult>) {
    let Some(first) = questions.first() else { return (None, Vec::new()) };
    let mut silence = "there is no name server to query".to_owned();
    for server in servers {
        // One question tells whether anybody is there; otherwise each would wait in vain.
        if let QueryResult::Nothing(why) = ask(*server, first).await {
            silence = why;
            continue;
        }
        let server = *server;
        let asked = stream::iter(questions.to_vec()).map(|question| async move { ask(server, &question).await });
        return (Some(server), asked.buffered(AT_ONCE).collect().await);
    }
    (None, vec![QueryResult::Nothing(silence); questions.len()])
}

async fn ask(server: SocketAddr, (name, rtype): &(String, String)) -> QueryResult {
    match query(server, name, rtype, PATIENCE).await {
        Ok(answer) if answer.found() => QueryResult::Records(answer.records),
        Ok(answer) => QueryResult::Code(answer.code),
        Err(error) => QueryResult::Nothing(error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_is_told_once_for_all() {
        let (server, said) =
            ask_all(&[], &[("a.internal.".into(), "A".into()), ("b.internal.".into(), "A".into())]).await;
        assert_eq!(server, None);
        assert_eq!(said, vec![QueryResult::Nothing("there is no name server to query".into()); 2]);
    }
}
