//! Getting things by HTTP: through the host's proxy, with a limit on how long nothing may come, from the middle of a
//! file where the server can do that.

mod absolute_form;
mod aside;
mod local;
pub mod proxies;
mod resolver;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use absolute_form::ForwardConnector;
use proxies::Proxies;
use resolver::Remembering;

/// How long to wait and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For how long nothing, or next to nothing, may come; without it there is no limit.
    pub stall: Option<Duration>,
    /// How often something is tried that gets no further.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with every further one.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Some(Duration::from_secs(30)), attempts: 4, pause: Duration::from_millis(500) }
    }
}

impl Patience {
    /// Waits after that attempt, the first one being 1; false if it was given up meanwhile.
    pub(crate) fn wait_after(&self, attempt: u32, given_up: &dyn Fn() -> bool) -> bool {
        wait(self.pause * (1 << (attempt - 1).min(6)), given_up)
    }
}

/// Waits for so long; false if it was given up meanwhile, which is looked at several times a second.
pub(crate) fn wait(pause: Duration, given_up: &dyn Fn() -> bool) -> bool {
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if given_up() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// A server that sends less than this, in bytes a second, is as good as one that sends nothing.
const SLOWEST: u64 = 512;
/// A connection is made in this time or not at all.
const LONGEST_CONNECT: Duration = Duration::from_secs(15);
/// How many redirections are followed.
const MOST_REDIRECTIONS: usize = 5;

/// Why something could not be got.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("'{url}' is not an address that can be fetched from: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy's address cannot be used.
    #[error("'{proxy}' is not a proxy that can be used: {reason}")]
    Proxy {
        /// The address.
        proxy: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There was no connection, or it broke.
    #[error("cannot fetch '{url}'")]
    Connection {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It is a file of the host, which cannot be read.
    #[error("cannot read '{url}'")]
    File {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The server refuses.
    #[error("the server answers {status} to '{url}'")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirection leads nowhere.
    #[error("'{url}' is redirected to '{target}', which is not followed: {reason}")]
    Redirection {
        /// The address.
        url: String,
        /// Where it is redirected to.
        target: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// The server sends nothing any more, or next to nothing.
    #[error("'{url}' stalls: {got} bytes in {seconds} s")]
    Stalled {
        /// The address.
        url: String,
        /// How much has come.
        got: u64,
        /// In how long.
        seconds: u64,
    },
    /// The connection ended in the middle.
    #[error("'{url}' ends after {got} bytes")]
    Truncated {
        /// The address.
        url: String,
        /// How much has come.
        got: u64,
    },
    /// More came than can be meant.
    #[error("'{url}' has more than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// Whether it may well go better when it is tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { source, .. } => match &**source {
                ureq::Error::Io(e) => e.kind() != io::ErrorKind::ConnectionRefused,
                ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::BodyStalled => true,
                _ => false,
            },
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Stalled { .. } | Self::Truncated { .. } => true,
            Self::File { .. }
            | Self::Url { .. }
            | Self::Proxy { .. }
            | Self::Redirection { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// Whether there is no such thing at that place.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 410),
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url { .. } => "name a mirror with --mirror=http://… or https://…",
            Self::Proxy { .. } => "correct the proxy in apt's configuration or in http_proxy",
            Self::File { .. } => "check the path of the mirror and its mode",
            Self::Status { status: 404 | 410, .. } => {
                "the mirror has no such file: check the mirror, the suite and the architecture"
            }
            Self::Status { status: 401 | 403 | 407, .. } => {
                "the mirror or the proxy wants to be asked differently: check their addresses"
            }
            Self::Status { .. } | Self::Stalled { .. } | Self::Truncated { .. } => {
                "try again (what was fetched is kept), or another mirror with --mirror"
            }
            Self::Connection { source, .. } if matches!(**source, ureq::Error::HostNotFound) => {
                "check the mirror's name and this machine's network, or name another one with --mirror"
            }
            Self::Connection { .. } => "check the network and the proxy, or name another mirror with --mirror",
            Self::Redirection { .. } | Self::TooLarge { .. } => "name another mirror with --mirror",
        })
    }

    fn connection(url: &str, source: ureq::Error, got: u64, patience: &Patience) -> Self {
        let url = without_credentials(url);
        match source {
            ureq::Error::Timeout(_) => {
                Self::Stalled { url, got, seconds: patience.stall.unwrap_or(LONGEST_CONNECT).as_secs() }
            }
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated { url, got },
            source => Self::Connection { url, source: Box::new(source) },
        }
    }
}

/// Gets things from servers, directly or by proxies. Connections are kept for the next request; any number of threads may
/// share a client.
#[derive(Debug, Clone)]
pub struct Client {
    patience: Patience,
    route: Route,
    /// Whether `file://` is understood.
    files: bool,
    agents: Arc<Mutex<Agents>>,
}

/// By their proxy, and whether they are for `https`: made when they are first used. For one with TLS the host's
/// certificates are read.
type Agents = HashMap<(Option<String>, bool), Agent>;

/// How servers are reached.
#[derive(Debug, Clone)]
enum Route {
    /// All by that proxy, or directly.
    Fixed(Option<ureq::Proxy>),
    /// Each as the environment says.
    Environment(Proxies),
}

impl Client {
    /// A client that goes by that proxy (`http://[user:password@]host[:port]`, or `https`), directly where there is none.
    /// Proxies in the environment are the caller's affair.
    ///
    /// # Errors
    /// A proxy that cannot be used.
    pub fn new(proxy: Option<&str>, patience: Patience) -> Result<Self, Error> {
        Ok(Self::by(Route::Fixed(proxy.map(read_proxy).transpose()?), patience))
    }

    /// A client that goes by these proxies. One that cannot be used is told of when it is first needed.
    #[must_use]
    pub fn with_proxies(proxies: Proxies, patience: Patience) -> Self {
        Self::by(Route::Environment(proxies), patience)
    }

    fn by(route: Route, patience: Patience) -> Self {
        Self { patience, route, files: false, agents: Arc::default() }
    }

    /// A client that also gets the host's own files, by `file://` and their absolute path.
    #[must_use]
    pub fn with_files(self) -> Self {
        Self { files: true, ..self }
    }

    fn agent(&self, url: &str) -> Result<Agent, Error> {
        let scheme = |name: &str| url.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let secure = scheme("https://");
        if !secure && !scheme("http://") {
            return Err(Error::Url {
                url: without_credentials(url),
                reason: "it begins with neither http:// nor https://".to_owned(),
            });
        }
        let proxy = match &self.route {
            Route::Fixed(proxy) => proxy.clone(),
            Route::Environment(proxies) => proxies.for_url(url).as_deref().map(read_proxy).transpose()?,
        };
        let key = (proxy.as_ref().map(|proxy| proxy.uri().to_string()), secure);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(agents.entry(key).or_insert_with(|| self.new_agent(proxy, secure)).clone())
    }

    fn new_agent(&self, proxy: Option<ureq::Proxy>, secure: bool) -> Agent {
        match proxy {
            // It is asked for the whole address.
            Some(proxy) if !secure && proxy.protocol() == ureq::ProxyProtocol::Http => {
                let resolver = Remembering::always(proxy.uri().clone());
                let configuration = configuration(&self.patience, None, None);
                Agent::with_parts(configuration, ForwardConnector::new(&proxy), resolver)
            }
            proxy => {
                let tls = secure.then(|| TlsConfig::builder().root_certs(root_certificates()).build());
                let configuration = configuration(&self.patience, proxy, tls);
                Agent::with_parts(configuration, DefaultConnector::default(), Remembering::default())
            }
        }
    }

    /// Asks for what is at `url`, from byte `from` on. A server that cannot begin in the middle begins at the start.
    ///
    /// # Errors
    /// No connection, or an answer without the thing.
    pub fn get(&self, url: &str, from: u64) -> Result<Response, Error> {
        if let Some(path) = url.strip_prefix("file://").filter(|_| self.files) {
            return local::open(url, path, from, self.patience);
        }
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTIONS {
            let mut request = self.agent(&url)?.get(&url);
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|e| match e {
                ureq::Error::BadUri(reason) => Error::Url { url: without_credentials(&url), reason },
                ureq::Error::Http(e) => Error::Url { url: without_credentials(&url), reason: e.to_string() },
                e => Error::connection(&url, e, 0, &self.patience),
            })?;
            let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            match response.status().as_u16() {
                200 => return Ok(Response::new(url, 0, response, self.patience)),
                206 if from > 0 && header("content-range").and_then(range_start) == Some(from) => {
                    return Ok(Response::new(url, from, response, self.patience));
                }
                // The file is not as long as what we have: it is another one.
                206 | 416 if from > 0 => return self.get(&url, 0),
                301 | 302 | 303 | 307 | 308 => {
                    let target = header("location").unwrap_or_default().to_owned();
                    url = redirected(&url, &target).map_err(|reason| Error::Redirection {
                        url: without_credentials(&url),
                        target: without_credentials(&target),
                        reason,
                    })?;
                }
                status => return Err(Error::Status { url: without_credentials(&url), status }),
            }
        }
        Err(Error::Redirection {
            url: without_credentials(&url),
            target: without_credentials(&url),
            reason: "there were too many redirections before",
        })
    }

    /// Gets all of a small thing.
    ///
    /// # Errors
    /// As [`Client::get`], and where it is larger than `limit` bytes or breaks off. Errors that may pass are tried again.
    pub fn get_all(&self, url: &str, limit: u64) -> Result<Vec<u8>, Error> {
        Ok(self.get_unless(&|| false, url, limit)?.map(|dated| dated.content).unwrap_or_default())
    }

    /// The same, and when it was changed last; `None` where it was given up meanwhile.
    ///
    /// # Errors
    /// As [`Client::get_all`].
    pub(crate) fn get_unless(
        &self,
        given_up: &dyn Fn() -> bool,
        url: &str,
        limit: u64,
    ) -> Result<Option<Dated>, Error> {
        let mut attempt = 1;
        loop {
            match self.get_once(given_up, url, limit) {
                Err(_) if given_up() => return Ok(None),
                Err(e) if e.is_transient() && attempt < self.patience.attempts => {
                    if !self.patience.wait_after(attempt, given_up) {
                        return Ok(None);
                    }
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn get_once(&self, given_up: &dyn Fn() -> bool, url: &str, limit: u64) -> Result<Option<Dated>, Error> {
        let Some(mut response) = self.get_aside(given_up, url, 0)? else { return Ok(None) };
        let mut content = Vec::new();
        while let Some(bytes) = response.next(given_up, url)? {
            if bytes.is_empty() {
                return Ok(Some(Dated { content, modified: response.modified }));
            }
            content.extend_from_slice(&bytes);
            if content.len() as u64 > limit {
                return Err(Error::TooLarge { url: without_credentials(url), limit });
            }
        }
        Ok(None)
    }

    /// How patient the client is.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }
}

fn configuration(patience: &Patience, proxy: Option<ureq::Proxy>, tls: Option<TlsConfig>) -> ureq::config::Config {
    let mut builder = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("redd/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(patience.stall.unwrap_or(LONGEST_CONNECT)))
        // A name's addresses share this time, so that one that is dead is given up soon.
        .timeout_connect(Some(patience.stall.map_or(LONGEST_CONNECT, |stall| stall.min(LONGEST_CONNECT))))
        .timeout_recv_response(patience.stall)
        .timeout_per_read(patience.stall)
        .timeout_per_write(patience.stall)
        .max_idle_connections(16)
        .max_idle_connections_per_host(16);
    if let Some(tls) = tls {
        builder = builder.tls_config(tls);
    }
    builder.build()
}

/// The certificates of the host (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where else they are), else Mozilla's as built in.
fn root_certificates() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::from(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>())
}

fn read_proxy(proxy: &str) -> Result<ureq::Proxy, Error> {
    let error = |reason| Error::Proxy { proxy: without_credentials(proxy), reason };
    let parsed = ureq::Proxy::new(proxy).map_err(|_| error("it is no address"))?;
    match parsed.protocol() {
        ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https => Ok(parsed),
        _ => Err(error("only http and https proxies are supported")),
    }
}

/// An address without the user's name and password: as it may be shown. It may lack its scheme, as in `//host/path`.
pub(crate) fn without_credentials(address: &str) -> String {
    let start = if address.starts_with("//") { 2 } else { address.find("://").map_or(0, |at| at + 3) };
    let end = address[start..].find('/').map_or(address.len(), |at| start + at);
    match address[start..end].rfind('@') {
        Some(at) => format!("{}{}", &address[..start], &address[start + at + 1..]),
        None => address.to_owned(),
    }
}

/// The first byte that a `Content-Range` names: `bytes 5-9/10`.
fn range_start(value: &str) -> Option<u64> {
    value.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// Where a redirection leads.
fn redirected(url: &str, target: &str) -> Result<String, &'static str> {
    let secure = url.starts_with("https://");
    if target.starts_with("https://") || (target.starts_with("http://") && !secure) {
        return Ok(target.to_owned());
    }
    if target.starts_with("http://") {
        return Err("it leads from https to http");
    }
    if target.starts_with('/') && !target.starts_with("//") {
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let authority = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
        return Ok(format!("{}{target}", &url[..authority]));
    }
    Err("it is not a whole address")
}

/// All of a small thing.
#[derive(Debug)]
pub(crate) struct Dated {
    pub(crate) content: Vec<u8>,
    /// When it was changed last, where the server says so.
    pub(crate) modified: Option<SystemTime>,
}

/// What a server sends.
pub struct Response {
    url: String,
    offset: u64,
    length: Option<u64>,
    modified: Option<SystemTime>,
    reader: Box<dyn Read + Send>,
    patience: Patience,
    got: u64,
    window: (Instant, u64),
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({} from {}, {:?} bytes)", self.url, self.offset, self.length)
    }
}

impl Response {
    fn new(url: String, offset: u64, response: ureq::http::Response<ureq::Body>, patience: Patience) -> Self {
        let modified = response.headers().get("last-modified").and_then(|value| date(value.to_str().ok()?));
        let body = response.into_body();
        let length = body.content_length();
        let reader = Box::new(body.into_with_config().limit(u64::MAX).reader());
        Self { url, offset, length, modified, reader, patience, got: 0, window: (Instant::now(), 0) }
    }

    /// The address that was read from in the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// At which byte of the file this begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes come, where the server says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// A connection that breaks, or that brings next to nothing.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = loop {
            match self.reader.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::connection(&self.url, ureq::Error::from(e), self.got, &self.patience)),
                Ok(count) => break count,
            }
        };
        self.got += count as u64;
        if count == 0 && self.length.is_some_and(|length| self.got < length) {
            return Err(Error::Truncated { url: without_credentials(&self.url), got: self.got });
        }
        let (since, before) = self.window;
        let elapsed = since.elapsed();
        if self.patience.stall.is_some_and(|stall| elapsed >= stall) {
            if count > 0 && (self.got - before) / elapsed.as_secs().max(1) < SLOWEST {
                let (url, got) = (without_credentials(&self.url), self.got - before);
                return Err(Error::Stalled { url, got, seconds: elapsed.as_secs() });
            }
            self.window = (Instant::now(), self.got);
        }
        Ok(count)
    }
}

/// A date as servers write it, such as `Fri, 27 Nov 2026 20:00:00 GMT` (RFC 9110, 5.6.7).
fn date(text: &str) -> Option<SystemTime> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    let seconds = u64::try_from(zoned.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{Reply, Server};
    use proptest::prelude::*;

    #[test]
    fn dates_of_servers() {
        let seconds = |text| date(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds("Fri, 27 Nov 2026 20:00:00 GMT"), Some(1_795_809_600));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn redirections() {
        let from = "http://a.example:80/b/c";
        assert_eq!(redirected(from, "https://x/y"), Ok("https://x/y".to_owned()));
        assert_eq!(redirected(from, "http://x/y"), Ok("http://x/y".to_owned()));
        assert_eq!(redirected(from, "/y?z"), Ok("http://a.example:80/y?z".to_owned()));
        assert!(redirected("https://a/b", "http://a/b").is_err());
        for target in ["", "//x/y", "y", "file:///etc/passwd"] {
            assert!(redirected(from, target).is_err(), "{target}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let error = Client::new(Some("socks5://me:secret@proxy:1"), Patience::default()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("socks5://proxy:1"), "{error}");
        let client = Client::new(None, Patience { attempts: 1, ..Patience::default() }).unwrap();
        let error = client.get_all("http://me:secret@127.0.0.1:1/a@b", 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot fetch 'http://127.0.0.1:1/a@b'");
        // An address that leads nowhere, without its host or to where nothing is followed.
        let error = client.get_all("http://me:secret@/a", 1).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        for (target, shown) in
            [("ftp://me:secret@other/x", "ftp://other/x"), ("//me:secret@other/x", "//other/x"), ("x@y", "y")]
        {
            let server = Server::start(move |_| Reply::redirect(target));
            let host = server.url.trim_start_matches("http://");
            let error = client.get_all(&format!("http://me:secret@{host}/core.db"), 1).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
            let (url, target) = (format!("'{}/core.db'", server.url), format!("'{shown}'"));
            assert!(error.to_string().contains(&url) && error.to_string().contains(&target), "{error}");
        }
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,30}", url in "https?://[a-z/]{0,5}") {
            let _ = (range_start(&text), redirected(&url, &text), without_credentials(&text), redirected(&text, "/x"));
        }
    }
}
