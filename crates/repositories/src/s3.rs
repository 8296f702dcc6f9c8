//! A repository in a bucket of an S3 server (Amazon, MinIO, Ceph, Garage, …). It has restic's layout, and the same
//! environment variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_DEFAULT_REGION`.
//!
//! Requests have presigned URLs (AWS Signature Version 4). An upload creates a complete object or none, so temporary
//! objects are not necessary.

use std::{
    env,
    io::{self, ErrorKind},
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use lap_base::error::{Error, Kind, Result};
use rusty_s3::{
    Bucket, Credentials, UrlStyle,
    actions::{ListObjectsV2, S3Action},
};
use tokio_rustls::rustls::{crypto::ring, pki_types::CertificateDer};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{
    file::{Folder, RepositoryFile},
    storage::Storage,
};

/// The validity of a presigned URL. It covers all tries of a slow transfer.
const URL_VALIDITY: Duration = Duration::from_secs(3600 + TRIES as u64 * BODY_TIMEOUT.as_secs());
/// The number of tries for a request that may succeed later.
const TRIES: u32 = 5;
/// The delay before the second try. It doubles with each try.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The time until a response starts.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for a body. It is enough for the largest files of a repository over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// The maximum size in bytes of an object that is read completely, and of a list.
const MAX_SIZE: u64 = super::relay::MAX_SIZE;

/// A folder of a bucket.
pub struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    /// The prefix of all keys. It is empty or ends with `/`.
    prefix: String,
    http: Agent,
}

struct S3Response {
    status: StatusCode,
    body: Vec<u8>,
}

impl S3 {
    /// Makes a storage without a request to the server. `endpoint` is `https://HOST[:PORT]`. `prefix` may be empty.
    ///
    /// # Errors
    /// The environment contains no credentials, or the endpoint is not valid.
    pub fn new(endpoint: &str, bucket: &str, prefix: &str) -> Result<Self> {
        let Some(credentials) = Credentials::from_env() else {
            return Err(Error::new(Kind::Keys, format!("there are no credentials for the bucket `{bucket}`"))
                .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of this command"));
        };
        let region = ["AWS_DEFAULT_REGION", "AWS_REGION"].iter().find_map(|name| env::var(name).ok());
        Self::with(credentials, region.unwrap_or_else(|| "us-east-1".into()), endpoint, bucket, prefix)
    }

    pub(super) fn with(
        credentials: Credentials,
        region: String,
        endpoint: &str,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self> {
        let wrong = |error: String| Error::new(Kind::Usage, format!("`{endpoint}` is not an S3 server: {error}"));
        let url = endpoint.parse().map_err(|error| wrong(format!("{error}")))?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), region);
        let bucket = bucket.map_err(|error| wrong(error.to_string()))?;
        let tls = TlsConfig::builder()
            .root_certs(authorities())
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        let http = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls.build())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_body(Some(BODY_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .build();
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket, credentials, prefix, http: http.into() })
    }

    fn key(&self, file: &RepositoryFile) -> String {
        format!("{}{}", self.prefix, file.path())
    }

    /// Sends a request until there is a response that another try would not change.
    fn ask(&self, send: impl Fn(&Agent) -> Result<Response<Body>, ureq::Error>) -> io::Result<S3Response> {
        let once = || {
            let mut response = send(&self.http)?;
            let body = response.body_mut().with_config().limit(MAX_SIZE).read_to_vec()?;
            Ok::<_, ureq::Error>(S3Response { status: response.status(), body })
        };
        let mut delay = FIRST_DELAY;
        for left in (0..TRIES).rev() {
            let last = left == 0;
            match once() {
                Ok(response)
                    if last
                        || !(response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS) =>
                {
                    return Ok(response);
                }
                Err(error) if last => return Err(io::Error::other(self.unreached(&error))),
                _ => {}
            }
            thread::sleep(delay);
            delay *= 2;
        }
        unreachable!("the last try returns")
    }

    fn unreached(&self, error: &ureq::Error) -> String {
        format!("cannot reach the S3 server {}: {error}", self.host())
    }

    fn host(&self) -> String {
        self.bucket.base_url().authority().to_owned()
    }

    /// Returns the error for a response without success.
    fn refused(&self, response: &S3Response) -> io::Error {
        let text = String::from_utf8_lossy(&response.body);
        let tag = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let inside = rest.split_once("</")?.0;
            Some(inside.trim_start_matches("<![CDATA[").trim_end_matches("]]>").to_owned())
        };
        let code = tag("Code").unwrap_or_default();
        let kind = match (response.status, code.as_str()) {
            (_, "NoSuchBucket") => ErrorKind::Other,
            (StatusCode::NOT_FOUND, _) => return ErrorKind::NotFound.into(),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => return ErrorKind::UnexpectedEof.into(),
            (StatusCode::INSUFFICIENT_STORAGE, _) | (_, "QuotaExceeded" | "XMinioStorageFull") => {
                return ErrorKind::StorageFull.into();
            }
            (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        let why = match (code.is_empty(), tag("Message")) {
            (false, Some(message)) => format!("{code}, {message}"),
            (false, None) => code,
            (true, _) => response.status.to_string(),
        };
        let bucket = self.bucket.name();
        io::Error::new(kind, format!("the S3 server {} refuses `{bucket}`: {}", self.host(), why.trim_end_matches('.')))
    }

    /// Returns the objects below a prefix with their sizes, and the folders too unless `deep` is set. Returns `None` if
    /// the bucket does not exist.
    fn below(&self, prefix: &str, deep: bool) -> io::Result<Option<Listed>> {
        let mut listed = Listed::default();
        loop {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix);
            if !deep {
                action.with_delimiter("/");
            }
            if let Some(token) = &listed.token {
                action.with_continuation_token(token.clone());
            }
            let url = action.sign(URL_VALIDITY);
            let response = self.ask(|http| http.get(url.as_str()).call())?;
            let text = String::from_utf8_lossy(&response.body);
            if response.status == StatusCode::NOT_FOUND && text.contains("NoSuchBucket") {
                return Ok(None);
            }
            if !response.status.is_success() {
                return Err(self.refused(&response));
            }
            let page = ListObjectsV2::parse_response(&text)
                .map_err(|error| io::Error::other(format!("the S3 server {} sent no list: {error}", self.host())))?;
            let objects = page.contents.into_iter().map(|object| (object.key, object.size.unwrap_or(0)));
            listed.objects.extend(objects);
            listed.folders.extend(page.common_prefixes.into_iter().map(|folder| folder.prefix));
            listed.token = page.next_continuation_token;
            if listed.token.is_none() {
                return Ok(Some(listed));
            }
        }
    }
}

/// Returns the machine's own certificate authorities, because the certificate of an office's server is often signed by
/// the office's own authority. Without any authority, every HTTPS server is refused.
fn authorities() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    let owned = |certificate: &CertificateDer<'_>| Certificate::from_der(certificate).to_owned();
    found.iter().map(owned).collect::<Vec<_>>().into()
}

#[derive(Default)]
struct Listed {
    objects: Vec<(String, u64)>,
    folders: Vec<String>,
    token: Option<String>,
}

impl Storage for S3 {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        let prefix = match folder {
            Folder::Config => format!("{}config", self.prefix),
            folder => format!("{}{}/", self.prefix, folder.name()),
        };
        let listed = self.below(&prefix, true)?.unwrap_or_default();
        let file = |key: &str| -> Option<RepositoryFile> {
            key.strip_prefix(&self.prefix)?.parse().ok().filter(|file: &RepositoryFile| file.folder == folder)
        };
        Ok(listed.objects.into_iter().filter_map(|(key, size)| Some((file(&key)?, size))).collect())
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        if range.is_some_and(|(_, length)| length == 0) {
            return Ok(Bytes::new());
        }
        let key = self.key(file);
        let url = self.bucket.get_object(Some(&self.credentials), &key).sign(URL_VALIDITY);
        let response = self.ask(|http| {
            let request = http.get(url.as_str());
            match range {
                Some((offset, length)) => {
                    request.header("range", format!("bytes={offset}-{}", offset.saturating_add(length) - 1)).call()
                }
                None => request.call(),
            }
        })?;
        if !response.status.is_success() {
            return Err(self.refused(&response));
        }
        let bytes = Bytes::from(response.body);
        match range {
            // A server may send the whole object (RFC 9110, section 14.2).
            Some((offset, length)) if response.status == StatusCode::OK => {
                let part = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(length)).ok());
                match part.filter(|(_, end)| *end <= bytes.len()) {
                    Some((from, to)) => Ok(bytes.slice(from..to)),
                    None => Err(ErrorKind::UnexpectedEof.into()),
                }
            }
            Some((_, length)) if bytes.len() as u64 != length => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(bytes),
        }
    }

    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        let key = self.key(file);
        let look = self.bucket.head_object(Some(&self.credentials), &key).sign(URL_VALIDITY);
        if self.ask(|http| http.head(look.as_str()).call())?.status.is_success() {
            return Ok(());
        }
        let url = self.bucket.put_object(Some(&self.credentials), &key).sign(URL_VALIDITY);
        let whole = parts.concat();
        let response =
            self.ask(|http| http.put(url.as_str()).content_type("application/octet-stream").send(&whole[..]))?;
        if response.status.is_success() { Ok(()) } else { Err(self.refused(&response)) }
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        let key = self.key(file);
        let url = self.bucket.delete_object(Some(&self.credentials), &key).sign(URL_VALIDITY);
        let response = self.ask(|http| http.delete(url.as_str()).call())?;
        if response.status.is_success() || response.status == StatusCode::NOT_FOUND {
            Ok(())
        } else {
            Err(self.refused(&response))
        }
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        let Some(listed) = self.below(&self.prefix, false)? else { return Ok(None) };
        let keys = listed.objects.into_iter().map(|(key, _)| key).chain(listed.folders);
        let name = |key: String| key.strip_prefix(&self.prefix).map(|name| name.trim_end_matches('/').to_owned());
        Ok(Some(keys.filter_map(name).filter(|name| !name.is_empty()).collect()))
    }

    fn make(&self) -> io::Result<()> {
        if self.below(&self.prefix, false)?.is_some() {
            return Ok(());
        }
        let url = self.bucket.create_bucket(&self.credentials).sign(URL_VALIDITY);
        // In all regions except the first, the request must contain the region.
        let body = match self.bucket.region() {
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let response = self.ask(|http| http.put(url.as_str()).send(body.as_bytes()))?;
        if response.status.is_success() { Ok(()) } else { Err(self.refused(&response)) }
    }
}
