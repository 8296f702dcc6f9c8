//! A registry that can be asked: HTTP/1.1 in TLS over streams that somebody else opens.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use lap_base::{
    error::{Error, Kind, OrError, Result},
    secret::Secret,
};
use tokio::time::timeout;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{
    fault::{RegistryFault, unexpected},
    tls,
};
use crate::wire::client::Dial;

/// How long a registry may say nothing at all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Sender = SendRequest<Body>;

/// A registry.
#[derive(Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
    /// Goes with every request.
    login: Option<HeaderValue>,
}

struct Inner {
    /// For messages: "the registry of `prod`".
    name: String,
    host: HeaderValue,
    server: ServerName<'static>,
    dial: Dial,
    tls: Arc<ClientConfig>,
    /// Connections that wait for their next request.
    idle: Mutex<Vec<Sender>>,
}

/// No body.
pub fn nothing() -> Body {
    whole(Bytes::new())
}

/// A body that is in memory.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

impl RegistryClient {
    /// The registry that `dial` opens streams to, and that must show a certificate for `server`, signed by one of `authority`
    /// (PEM). `name` is for messages: "the registry of `prod`".
    ///
    /// # Errors
    /// `server` cannot be a name, or there is no authority.
    pub fn new(name: impl Into<String>, server: &str, authority: &str, dial: Dial) -> Result<Self> {
        let what = || format!("`{server}` is not a server's name");
        let host = HeaderValue::from_str(server).or_error(Kind::Other, what)?;
        let name_of_server = ServerName::try_from(server.to_owned()).or_error(Kind::Other, what)?;
        let inner = Inner {
            name: name.into(),
            host,
            server: name_of_server,
            dial,
            tls: tls::trusting(authority)?,
            idle: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), login: None })
    }

    /// The same registry, asked as this user.
    ///
    /// # Errors
    /// The name or the password cannot be sent.
    pub fn with_login(self, user: &str, password: &Secret) -> Result<Self> {
        let pair = Secret::new(format!("{user}:{}", password.expose()));
        let text = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
        let mut login =
            HeaderValue::from_str(text.expose()).or_error(Kind::Keys, || "a password of a registry".into())?;
        login.set_sensitive(true);
        Ok(Self { login: Some(login), ..self })
    }

    /// For messages: "the registry of `prod`".
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Sends a request; its answer's head has come when this returns. `path` begins with `/v2/`.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(hyper::header::HeaderName, &str)],
        body: Body,
    ) -> Result<RegistryReply, RegistryFault> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.inner.host);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        let request = request.body(body).map_err(|error| {
            RegistryFault::refused(format!("{} sent an invalid address: `{path}`: {error}", self.name()))
        })?;
        let mut sender = self.connection().await?;
        let response = sender.send_request(request).await.map_err(|error| self.broke(&error))?;
        Ok(RegistryReply { response, sender, client: self.clone() })
    }

    /// The same for requests without a large body: their answer must come soon, and is read whole.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(hyper::header::HeaderName, &str)],
        body: Body,
        most: usize,
    ) -> Result<Whole, RegistryFault> {
        let asked = async { self.send(method, path, headers, body).await?.whole(most).await };
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// It said nothing for too long.
    pub(super) fn silent(&self) -> RegistryFault {
        RegistryFault::broken(format!("{} sent nothing for {} s", self.name(), PATIENCE.as_secs()))
    }

    /// The connection is gone.
    pub(super) fn broke(&self, error: &dyn std::error::Error) -> RegistryFault {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        RegistryFault::broken(format!("the connection to {} broke: {cause}", self.name()))
    }

    async fn connection(&self) -> Result<Sender, RegistryFault> {
        while let Some(mut sender) = self.pop() {
            // The next one, when it was closed meanwhile.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        timeout(PATIENCE, self.connect()).await.unwrap_or_else(|_| Err(self.silent()))
    }

    async fn connect(&self) -> Result<Sender, RegistryFault> {
        let stream = (self.inner.dial)().await?;
        let connector = TlsConnector::from(self.inner.tls.clone());
        let stream = connector.connect(self.inner.server.clone(), stream).await.map_err(|error| {
            if error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) {
                let message = format!("{} has no valid certificate: {error}", self.name());
                let hint = "run `lap up` to issue new certificates for expired ones or new keys";
                return RegistryFault {
                    error: Error::new(Kind::Keys, message).hint(hint),
                    again: false,
                    starting: false,
                };
            }
            self.broke(&error).while_it_starts()
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| self.broke(&error))?;
        // Ends with the last of its requests and the sender; what breaks it is told to the request it breaks.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn pop(&self) -> Option<Sender> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer whose body is still to be read.
pub struct RegistryReply {
    response: Response<Incoming>,
    sender: Sender,
    client: RegistryClient,
}

/// An answer, read whole.
pub struct Whole {
    pub status: StatusCode,
    headers: hyper::HeaderMap,
    pub body: Bytes,
    registry: String,
}

impl RegistryReply {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next bytes; `None`: that was all, and the connection is free for the next request.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryFault> {
        loop {
            match timeout(PATIENCE, self.response.frame()).await {
                Err(_) => return Err(self.client.silent()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(self.client.broke(&error)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }

    /// Gives the connection back; only for who has read everything.
    pub fn done(self) {
        self.client.idle().push(self.sender);
    }

    /// Reads all of it.
    pub async fn whole(mut self, most: usize) -> Result<Whole, RegistryFault> {
        let mut body = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if body.len() + bytes.len() > most {
                return Err(RegistryFault::refused(format!(
                    "{} answers with more than {most} bytes",
                    self.client.name()
                )));
            }
            body.extend_from_slice(&bytes);
        }
        let (status, headers) = (self.status(), self.response.headers().clone());
        let registry = self.client.name().to_owned();
        self.done();
        Ok(Whole { status, headers, body: body.freeze(), registry })
    }
}

impl Whole {
    /// A header, if it is text.
    pub fn header(&self, name: &hyper::header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The fault this answer is: "`registry` `what`: …".
    pub fn fault(&self, what: &str) -> RegistryFault {
        unexpected(&self.registry, what, self.status, &self.body)
    }
}
