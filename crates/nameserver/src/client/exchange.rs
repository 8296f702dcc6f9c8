//! One request to a server over TCP, and the verified answers.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_server::proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RecordType, TSigVerifier, TSigner,
        rdata::tsig::{TsigAlgorithm, TsigError},
    },
};
use lap_base::{Error, Kind, OrError, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::keys::KeyEntry;

/// The time for sending a request and for each message of the answer. A transfer of a large zone takes a fraction of
/// it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The permitted difference between the two clocks in seconds, as RFC 8945, section 10, recommends.
const FUDGE: u16 = 300;

/// One message of an answer.
pub struct DnsReply {
    pub message: Message,
    /// The reason why the server refused the signature.
    pub key_error: Option<TsigError>,
}

/// A connection on which a request was sent.
pub struct Exchange {
    server: SocketAddr,
    id: u16,
    stream: TcpStream,
    verifier: Option<TSigVerifier>,
}

impl Exchange {
    /// Connects to `server` and sends `message`, signed with `key`.
    ///
    /// # Errors
    /// - [`Kind::Host`]: the server cannot be reached.
    /// - [`Kind::Keys`]: the key is not valid.
    /// - [`Kind::Usage`]: the message cannot be encoded, or is larger than 65,535 bytes.
    pub async fn send(server: SocketAddr, mut message: Message, key: Option<&KeyEntry>) -> Result<Self> {
        let what = || format!("cannot reach the DNS server at `{server}`");
        let mut verifier = None;
        if let Some(key) = key {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            verifier = message.finalize(&signer(key)?, now).or_error(Kind::Other, || "cannot sign".into())?;
        }
        let bytes = message.to_vec().or_error(Kind::Usage, || "cannot encode the request".into())?;
        let length = u16::try_from(bytes.len()).or_error(Kind::Usage, || "the request is too large".into())?;
        let send = async {
            let mut stream = TcpStream::connect(server).await?;
            stream.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat()).await?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = within(server, send).await?.or_error(Kind::Host, what)?;
        Ok(Self { server, id: message.metadata.id, stream, verifier })
    }

    /// Receives the next message of the answer. If the request was signed, a successful answer must be signed too. An
    /// answer with an error code need not be signed.
    ///
    /// # Errors
    /// [`Kind::Host`]: no message arrives in time, the message is malformed, or its signature is wrong.
    pub async fn next(&mut self) -> Result<DnsReply> {
        let server = self.server;
        let what = || format!("the DNS server at `{server}` sent an invalid answer");
        let stream = &mut self.stream;
        let receive = async {
            let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = within(server, receive).await?.or_error(Kind::Host, what)?;
        let message = Message::from_vec(&bytes).or_error(Kind::Host, what)?;
        if message.metadata.id != self.id {
            return Err(Error::new(Kind::Host, format!("{}: the server sent an unexpected answer", what())));
        }
        let key_error = message.signature().and_then(|signature| signature.data.error);
        if message.metadata.response_code != ResponseCode::NoError || key_error.is_some() {
            return Ok(DnsReply { message, key_error });
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.verify(&bytes).or_error(Kind::Host, || format!("{}: its signature is wrong", what()))?;
        }
        Ok(DnsReply { message, key_error })
    }
}

async fn within<T>(server: SocketAddr, work: impl Future<Output = T>) -> Result<T> {
    let late = |_| Error::new(Kind::Host, format!("no answer from the DNS server at `{server}` within {TIMEOUT:?}"));
    tokio::time::timeout(TIMEOUT, work).await.map_err(late)
}

fn signer(key: &KeyEntry) -> Result<TSigner> {
    let algorithm = match key.algorithm.as_str() {
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        _ => TsigAlgorithm::HmacSha256,
    };
    let what = || format!("the key `{}` cannot be used", &key.name);
    let name = Name::from_ascii(&key.name).or_error(Kind::Keys, what)?;
    TSigner::new(key.secret_bytes().to_vec(), algorithm, name, FUDGE).or_error(Kind::Keys, what)
}

/// Returns the zone that contains `name`, or `None` if `server` is not authoritative for it.
///
/// # Errors
/// [`Kind::Host`]: the server does not answer.
pub async fn authority(server: SocketAddr, name: &Name) -> Result<Option<Name>> {
    let mut question = Message::query();
    question.add_query(Query::query(name.clone(), RecordType::SOA));
    let reply = Exchange::send(server, question, None).await?.next().await?.message;
    if !reply.metadata.authoritative {
        return Ok(None);
    }
    // The SOA is in the authority section if the name itself has none (RFC 2308).
    let mut records = reply.answers.iter().chain(&reply.authorities);
    let soa = records.find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(name));
    Ok(soa.map(|record| record.name.clone()))
}
