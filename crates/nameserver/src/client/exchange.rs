//! One message to a server over TCP, and what comes back, as far as it can be believed.

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

/// For the whole of an exchange; a transfer of a large zone takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far two clocks may differ, in seconds (RFC 8945, section 10, recommends it).
const FUDGE: u16 = 300;

/// A message that came back.
pub struct DnsReply {
    pub message: Message,
    /// Why the server did not take the signature.
    pub key_error: Option<TsigError>,
}

/// A connection on which one request was sent.
pub struct Asked {
    server: SocketAddr,
    id: u16,
    stream: TcpStream,
    verifier: Option<TSigVerifier>,
}

impl Asked {
    /// Sends `message`, signed with `key`.
    ///
    /// # Errors
    /// [`Kind::Host`]: the server cannot be reached.
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

    /// The next message of the answer. What succeeded is signed if the request was; a refusal need not be.
    ///
    /// # Errors
    /// [`Kind::Host`]: nothing comes, or not from who has the key.
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
    let late = |_| Error::new(Kind::Host, format!("no answer from the DNS server at `{server}` within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, work).await.map_err(late)
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

/// The zone that `name` is in, where `server` is the authority for it; `None`: it is not.
///
/// # Errors
/// [`Kind::Host`]: the server does not answer.
pub async fn authority(server: SocketAddr, name: &Name) -> Result<Option<Name>> {
    let mut question = Message::query();
    question.add_query(Query::query(name.clone(), RecordType::SOA));
    let reply = Asked::send(server, question, None).await?.next().await?.message;
    if !reply.metadata.authoritative {
        return Ok(None);
    }
    // In the authority section where the name has none itself (RFC 2308).
    let mut records = reply.answers.iter().chain(&reply.authorities);
    let soa = records.find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(name));
    Ok(soa.map(|record| record.name.clone()))
}
