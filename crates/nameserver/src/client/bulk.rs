//! Many queries at a time. Like a resolver, this module uses the first server that answers.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::query::query;

/// The number of queries in progress at a time: enough to hide the round trip, and few enough for any socket buffer.
const MAX_IN_PROGRESS: usize = 64;
/// The time for one query. A server that runs needs about a hundredth of it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The result of one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryResult {
    /// The data of the records, as in a zone file.
    Records(Vec<String>),
    /// There are no such records. This is the response code: `NXDOMAIN`, or `NOERROR` if the name has records of other
    /// types only.
    Code(String),
    /// There was no answer in time, or the query could not be sent.
    Nothing(String),
}

/// Sends all queries (name, type) to the first of `servers` that answers. Returns this server and one result for each
/// query. The server is `None` if no server answers, or if there are no queries.
pub async fn ask_all(servers: &[SocketAddr], questions: &[(String, String)]) -> (Option<SocketAddr>, Vec<QueryResult>) {
    let Some(first) = questions.first() else { return (None, Vec::new()) };
    let mut reason = "there is no name server to query".to_owned();
    for server in servers {
        // The first query shows whether the server answers at all. Without it, each query would wait for the time
        // limit.
        if let QueryResult::Nothing(why) = ask(*server, first).await {
            reason = why;
            continue;
        }
        let server = *server;
        let asked = stream::iter(questions.to_vec()).map(|question| async move { ask(server, &question).await });
        return (Some(server), asked.buffered(MAX_IN_PROGRESS).collect().await);
    }
    (None, vec![QueryResult::Nothing(reason); questions.len()])
}

async fn ask(server: SocketAddr, (name, rtype): &(String, String)) -> QueryResult {
    match query(server, name, rtype, TIMEOUT).await {
        Ok(answer) if answer.found() => QueryResult::Records(answer.records),
        Ok(answer) => QueryResult::Code(answer.code),
        Err(error) => QueryResult::Nothing(error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_server_each_query_has_the_same_result() {
        let (server, results) =
            ask_all(&[], &[("a.internal.".into(), "A".into()), ("b.internal.".into(), "A".into())]).await;
        assert_eq!(server, None);
        assert_eq!(results, vec![QueryResult::Nothing("there is no name server to query".into()); 2]);
    }
}
