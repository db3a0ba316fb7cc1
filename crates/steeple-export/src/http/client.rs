use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use steeple_core::clock;
use tower_service::Service;

use super::{
    Endpoint, Request, Response,
    connect::Connector,
    endpoint::{is_https, is_loopback},
    proxies::{Proxies, ProxyOptions},
};
use crate::{
    Answer, BuildError, DropReason, Reason, runtime, secret,
    tls::{self, Roots},
};

/// The default of [`ClientBuilder::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of [`ClientBuilder::idle_timeout`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RESPONSE: usize = 1 << 20;

type Plain = legacy::Client<Connector, Full<Bytes>>;
type Secure = legacy::Client<HttpsConnector<Connector>, Full<Bytes>>;

/// An HTTP client for exporters. A cheap clone, with one pool of connections.
///
/// - Redirects are never followed: they would take keys to whichever host the answer names.
/// - Without encryption it speaks to this machine only, unless [`ClientBuilder::allow_plain_http`] is set.
/// - TLS by the process's default provider if there is one, else by the feature's; the system's roots.
/// - The environment is not read, but for `SSL_CERT_FILE` and `SSL_CERT_DIR`, where the system's roots may be elsewhere.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http1: Plain,
    #[cfg(feature = "otlp")]
    http2: Plain,
    https: OnceLock<Result<Encrypted, BuildError>>,
    idle_timeout: Duration,
    connector: Connector,
    roots: Roots,
    proxies: Arc<Proxies>,
    user_agent: HeaderValue,
    allows_plain: bool,
    max_response: usize,
    refusals: secret::Refusals,
    unreachable: Option<Unreachable>,
}

/// Made when the first endpoint asks for it: reading the system's roots takes milliseconds.
struct Encrypted {
    http1: Secure,
    #[cfg(feature = "otlp")]
    http2: Secure,
}

impl Encrypted {
    fn new(roots: &Roots, connector: &Connector, idle_timeout: Duration) -> Result<Self, BuildError> {
        let config = tls::client_config(roots).map_err(BuildError::tls)?;
        let config = config.ok_or(BuildError::no_tls())?;
        let https = || HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_only();
        Ok(Self {
            http1: pool(idle_timeout).build(https().enable_http1().wrap_connector(connector.clone())),
            #[cfg(feature = "otlp")]
            http2: pool(idle_timeout).http2_only(true).build(https().enable_http2().wrap_connector(connector.clone())),
        })
    }
}

fn pool(idle_timeout: Duration) -> legacy::Builder {
    let mut pool = legacy::Client::builder(TokioExecutor::new());
    pool.pool_timer(TokioTimer::new()).pool_idle_timeout(idle_timeout).pool_max_idle_per_host(32);
    pool
}

/// Options for a [`Client`], all with a default: how every sink over HTTP is reached.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until they are built"]
pub struct ClientBuilder {
    user_agent: Option<String>,
    connect_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    ca_file: Option<PathBuf>,
    proxies: Option<ProxyOptions>,
    allows_plain: Option<bool>,
    skips_verification: bool,
    max_response: Option<usize>,
    unreachable: Option<Unreachable>,
}

type ReportUnreachable = dyn Fn(&Endpoint, &Reason) + Send + Sync;

/// What is called for an endpoint that cannot be connected to.
#[derive(Clone)]
struct Unreachable(Arc<ReportUnreachable>);

impl fmt::Debug for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unreachable")
    }
}

impl ClientBuilder {
    /// The header `user-agent`. Default: `steeple/` and the version.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// How long a connection may take to be established, before TLS. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// How long a connection that is not used is kept. Default: 60 seconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Trusts the certificates in this PEM file, in place of the system's.
    #[doc(alias = "certificate")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Connects through proxies. Default: none.
    pub fn proxy(mut self, proxies: ProxyOptions) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Sends to other machines without encryption too: anyone in between can read keys and data. Default: to this machine
    /// only.
    pub fn allow_plain_http(mut self) -> Self {
        self.allows_plain = Some(true);
        self
    }

    /// Takes from `defaults` everything not set here.
    ///
    /// ```
    /// use steeple_export::{Client, ProxyOptions};
    ///
    /// let of_all = Client::builder().proxy(ProxyOptions::new().https("http://proxy:3128"));
    /// let of_one = Client::builder().ca_file("/etc/ssl/own.pem").or(&of_all); // through the proxy as well
    /// ```
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            user_agent: self.user_agent.or_else(|| defaults.user_agent.clone()),
            connect_timeout: self.connect_timeout.or(defaults.connect_timeout),
            idle_timeout: self.idle_timeout.or(defaults.idle_timeout),
            ca_file: self.ca_file.or_else(|| defaults.ca_file.clone()),
            proxies: self.proxies.or_else(|| defaults.proxies.clone()),
            allows_plain: self.allows_plain.or(defaults.allows_plain),
            skips_verification: self.skips_verification || defaults.skips_verification,
            max_response: self.max_response.or(defaults.max_response),
            unreachable: self.unreachable.or_else(|| defaults.unreachable.clone()),
        }
    }

    /// Accepts any certificate: a man in the middle can read keys and data. For test set-ups.
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.skips_verification = true;
        self
    }

    /// How much of an answer's body is read. Default: 1 MiB.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response = Some(bytes);
        self
    }

    /// Connects once to each endpoint that is [checked](Client::check), and closes the connection, without a request. `report` is called
    /// on the export thread, once for each that cannot be connected to. Default: nothing connects before something is sent.
    pub fn on_unreachable(mut self, report: impl Fn(&Endpoint, &Reason) + Send + Sync + 'static) -> Self {
        self.unreachable = Some(Unreachable(Arc::new(report)));
        self
    }

    /// Makes the client. Opens no connection and needs no runtime.
    ///
    /// # Errors
    /// When the user agent or a proxy is not valid, or the certificates cannot be read.
    pub fn build(self) -> Result<Client, BuildError> {
        let user_agent = self.user_agent.unwrap_or_else(|| concat!("steeple/", env!("CARGO_PKG_VERSION")).to_owned());
        let mut user_agent = HeaderValue::try_from(user_agent)
            .map_err(|_text| BuildError::setting("the user agent is not a valid header value"))?;
        user_agent.set_sensitive(false);
        let proxies = Arc::new(Proxies::new(self.proxies.unwrap_or_default())?);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)));
        let connector = Connector::new(tcp, Arc::clone(&proxies));
        let roots = Roots { ca_file: self.ca_file, skips_verification: self.skips_verification };
        let idle_timeout = self.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        let https = OnceLock::new();
        if roots.ca_file.is_some() {
            // A file that cannot be read is an error now, not when something is sent.
            https
                .get_or_init(|| Encrypted::new(&roots, &connector, idle_timeout))
                .as_ref()
                .map_err(BuildError::clone)?;
        }
        Ok(Client(Arc::new(Inner {
            http1: pool(idle_timeout).build(connector.clone()),
            #[cfg(feature = "otlp")]
            http2: pool(idle_timeout).http2_only(true).build(connector.clone()),
            https,
            idle_timeout,
            connector,
            roots,
            proxies,
            user_agent,
            allows_plain: self.allows_plain.unwrap_or(false),
            max_response: self.max_response.unwrap_or(MAX_RESPONSE),
            refusals: secret::Refusals::default(),
            unreachable: self.unreachable,
        })))
    }
}

impl Client {
    /// Settings, all with a default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Whether this client can speak to an endpoint at all. Sinks call it when they are built.
    ///
    /// # Errors
    /// [`BuildError::is_plain_http`] for another machine without encryption; an error as well for `https` where no TLS feature is on,
    /// or no root certificate is found.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), BuildError> {
        self.0.check(endpoint.uri())?;
        self.connect(endpoint);
        Ok(())
    }

    /// Connects in the background, where somebody wants to know if that fails.
    fn connect(&self, endpoint: &Endpoint) {
        let Some(Unreachable(report)) = self.0.unreachable.clone() else { return };
        let (mut connector, endpoint) = (self.0.connector.clone(), endpoint.clone());
        let connecting = async move {
            let connected = connector.call(endpoint.uri().clone()).await;
            if let Err(error) = connected.map(drop) {
                let why = Reason::of_error(&*error);
                runtime::aloud(|| report(&endpoint, &why));
            }
        };
        if let Ok(runtime) = runtime::shared() {
            drop(runtime.spawn(connecting));
        }
    }

    /// Sends one request beside all pipelines, and waits for the whole answer. Works in any runtime or none: the export thread
    /// does it. Dropping the future ends the request. Redirects are not followed.
    ///
    /// # Errors
    /// Returns the reason if no response arrives in time. The caller interprets the status of a response.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use steeple_export::{Client, Endpoint, Request};
    ///
    /// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().max_response_bytes(4 << 20).build()?;
    /// let endpoint = Endpoint::parse("http://127.0.0.1:9090")?.join("api/v1/query")?;
    /// let request = Request::post(&endpoint).content_type("application/x-www-form-urlencoded").body("query=up");
    /// let answer = client.ask(request, Duration::from_secs(2)).await.map_err(|why| why.to_string())?;
    /// println!("{}, {} bytes", answer.status, answer.body.len());
    /// # Ok(()) }
    /// ```
    pub async fn ask(&self, request: Request, timeout: Duration) -> Result<Response, Reason> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let client = self.clone();
        let asking = async move {
            let now = clock::now();
            let deadline = now.checked_add(timeout).unwrap_or(now);
            let sent = tokio::time::timeout(timeout, client.send(request, deadline)).await;
            let _gone = sender.send(match sent {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(answer)) => Err(answer.into_reason()),
                Err(_elapsed) => Err(Reason::from("no answer within the time limit")),
            });
        };
        let _asking = crate::spawn(asking).map_err(|error| Reason::of_error(&error))?;
        receiver.await.unwrap_or_else(|_ended| Err(Reason::from("the export thread has ended")))
    }

    /// Sends a request, for an [`Exporter`](crate::Exporter) whose work is more than one. Redirects are answers as all others.
    /// Runs on the thread of exporters.
    ///
    /// After a 401, 403 or 407 the files of secrets are [read again](crate::secret), at most once a minute for a client; where there is a
    /// new one, the request is sent once more with it.
    ///
    /// # Errors
    /// Returns what to do with the batch if no response arrives.
    pub async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Answer> {
        if !secret::is_any_watched() {
            return self.send_once(request, deadline).await;
        }
        let (mut sent, proxies) = (request.clone(), self.0.proxies.now());
        secret::apply(&mut sent);
        let response = self.send_once(sent.clone(), deadline).await?;
        let is_refused = matches!(
            response.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        );
        if !is_refused {
            return Ok(response);
        }
        self.0.refusals.reread().await;
        let mut again = request;
        secret::apply(&mut again);
        // The secrets of others may have changed as well.
        let is_same = again.is_same(&sent) && Arc::ptr_eq(&proxies, &self.0.proxies.now());
        if is_same { Ok(response) } else { self.send_once(again, deadline).await }
    }

    async fn send_once(&self, request: Request, deadline: Instant) -> Result<Response, Answer> {
        let inner = &self.0;
        let refused = |error: &BuildError| Answer::rejected(Reason::of_error(error));
        inner.check(&request.uri).map_err(|error| refused(&error))?;
        let encrypted = if is_https(&request.uri) { Some(inner.https().as_ref().map_err(refused)?) } else { None };
        #[cfg(feature = "otlp")]
        let is_http2 = request.http2;
        let mut message = http::Request::new(Full::new(request.body));
        *message.method_mut() = request.method;
        *message.headers_mut() = request.headers;
        message.headers_mut().entry(header::USER_AGENT).or_insert_with(|| inner.user_agent.clone());
        if !is_https(&request.uri)
            && let Some(proxy) = inner.proxies.now().matcher.intercept(&request.uri)
            && let Some(authorization) = proxy.basic_auth()
        {
            message.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        *message.uri_mut() = request.uri;
        #[cfg(feature = "otlp")]
        let sent = match encrypted {
            Some(encrypted) if is_http2 => encrypted.http2.request(message),
            Some(encrypted) => encrypted.http1.request(message),
            None if is_http2 => inner.http2.request(message),
            None => inner.http1.request(message),
        };
        #[cfg(not(feature = "otlp"))]
        let sent = match encrypted {
            Some(encrypted) => encrypted.http1.request(message),
            None => inner.http1.request(message),
        };
        let response = sent.await.map_err(|error| {
            let why = Reason::of_error(&error);
            if error.is_connect() { Answer::retry(DropReason::Network, why) } else { Answer::InDoubt(why) }
        })?;
        let (head, body) = response.into_parts();
        // A body that does not end must not make an answer of none.
        let now = clock::now();
        let read_until = now.checked_add(deadline.saturating_duration_since(now).mul_f64(0.9)).unwrap_or(deadline);
        let mut read = Vec::new();
        let mut trailers = HeaderMap::new();
        let mut is_cut = false;
        let mut body = std::pin::pin!(body);
        loop {
            let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
            // The status has arrived: it counts, however the body ends.
            let frame = match tokio::time::timeout_at(read_until.into(), frame).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) | Err(_) => {
                    is_cut = true;
                    break;
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let room = inner.max_response.saturating_sub(read.len());
                    read.extend_from_slice(data.get(..data.len().min(room)).unwrap_or_default());
                    if data.len() > room {
                        is_cut = true;
                        break;
                    }
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(Response { status: head.status, headers: head.headers, body: read.into(), is_cut, trailers })
    }
}

impl Inner {
    fn https(&self) -> &Result<Encrypted, BuildError> {
        self.https.get_or_init(|| Encrypted::new(&self.roots, &self.connector, self.idle_timeout))
    }

    fn check(&self, uri: &http::Uri) -> Result<(), BuildError> {
        if is_https(uri) {
            self.https().as_ref().map(drop).map_err(BuildError::clone)
        } else if self.allows_plain || is_loopback(uri) {
            Ok(())
        } else {
            Err(BuildError::plain_http())
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allows_plain", &self.0.allows_plain).finish_non_exhaustive()
    }
}
