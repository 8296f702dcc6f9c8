//! One query to a name server, like `dig +short`. The health check of the `dns` container uses it.

use std::{fmt, io, net::SocketAddr, str::FromStr, time::Duration};

use hickory_server::proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use lap_base::{Error, Kind, OrError, Result, random::random};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout as within,
};

/// The maximum size of a UDP reply in bytes. A packet of this size is not fragmented on common networks (DNS flag day
/// 2020).
const UDP_PAYLOAD: u16 = 1232;

/// The answer to a query. Its `Display` is that of `dig +short`: the data of each record on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code in the form of `dig`: `NOERROR`, `NXDOMAIN`, …
    pub code: String,
    /// Whether the server is authoritative for the name (the flag AA).
    pub authoritative: bool,
    /// The data of each record of the answer section.
    pub records: Vec<String>,
}

impl Answer {
    /// Returns whether the code is NOERROR and there is at least one record.
    pub fn found(&self) -> bool {
        self.code == "NOERROR" && !self.records.is_empty()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

/// Asks `server` for the records of type `rtype` (`A`, `SOA`, `TYPE65`, …) of `name`, which is treated as fully
/// qualified. Sends the query over UDP, and again after half of `timeout` without an answer. Uses TCP if the answer is
/// truncated. `timeout` limits the whole call.
///
/// # Errors
/// - [`Kind::Usage`]: the name or the type is not valid.
/// - [`Kind::Host`]: the server cannot be reached, or does not answer in time.
pub async fn query(server: SocketAddr, name: &str, rtype: &str, timeout: Duration) -> Result<Answer> {
    let (message, bytes) = question(name, rtype)?;
    let asked = format!("`{name}` {rtype} at `{server}`");
    let exchange = async {
        let reply = over_udp(server, &message, &bytes, timeout / 2).await?;
        if reply.metadata.truncation { over_tcp(server, &message, &bytes).await } else { Ok(reply) }
    };
    match within(timeout, exchange).await {
        Ok(reply) => Ok(read(&reply.or_error(Kind::Host, || format!("cannot ask for {asked}"))?)),
        Err(_) => Err(Error::new(Kind::Host, format!("no answer to {asked} within {timeout:?}"))),
    }
}

fn question(name: &str, rtype: &str) -> Result<(Message, Vec<u8>)> {
    let mut fqdn = Name::from_ascii(name).or_error(Kind::Usage, || format!("`{name}` is not a domain name"))?;
    fqdn.set_fqdn(true);
    let rtype = rtype.to_ascii_uppercase();
    let number = rtype.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok()).map(RecordType::from);
    let known = || RecordType::from_str(&rtype).or_error(Kind::Usage, || format!("`{rtype}` is not a record type"));
    let mut message = Message::query();
    message.metadata.id = u16::from_be_bytes(random()?);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(fqdn, number.map_or_else(known, Ok)?));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    let bytes = message.to_vec().or_error(Kind::Usage, || format!("cannot ask for `{name}`"))?;
    Ok((message, bytes))
}

async fn over_udp(server: SocketAddr, asked: &Message, bytes: &[u8], again: Duration) -> io::Result<Message> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    // A connected socket receives no packets from other addresses, and reports a closed port at once.
    socket.connect(server).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(bytes).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                match Message::from_vec(&buffer[..length]) {
                    Ok(reply) if fits(asked, &reply) => return io::Result::Ok(reply),
                    // This is not the answer to the query. The answer may still arrive.
                    _ => continue,
                }
            }
        };
        if let Ok(reply) = within(again, answer).await {
            return reply;
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    match Message::from_vec(&buffer) {
        Ok(reply) if fits(asked, &reply) => Ok(reply),
        Ok(_) => Err(io::Error::other("the reply is to another question")),
        Err(e) => Err(io::Error::other(e)),
    }
}

/// Returns whether `reply` has the id of the query, and the same question. A server that could not parse the query
/// sends no question.
fn fits(asked: &Message, reply: &Message) -> bool {
    asked.metadata.id == reply.metadata.id && (reply.queries.is_empty() || reply.queries == asked.queries)
}

fn read(reply: &Message) -> Answer {
    let code = match reply.metadata.response_code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        other => format!("RCODE{}", u16::from(other)),
    };
    let records = reply.answers.iter().map(|r| crate::records::shown(&r.data)).collect();
    Answer { code, authoritative: reply.metadata.authoritative, records }
}
