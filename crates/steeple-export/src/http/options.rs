use std::{borrow::Cow, path::PathBuf, time::Duration};

use super::{Client, ClientBuilder, Endpoint, Http, Protocol, ProxyOptions};
use crate::{BuildError, Pipeline, PipelineBuilder, Retry, Unauthorized};

/// How a sink over HTTP is reached, and how much may wait for it. Every sink that is a [`Protocol`] takes the same options.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_export::HttpOptions;
///
/// let options = HttpOptions::new().ca_file("/etc/ssl/own.pem").timeout(Duration::from_secs(5)).max_queue(1_000, 1 << 20);
/// # let _unused = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a sink gets them"]
pub struct HttpOptions {
    builder: ClientBuilder,
    client: Option<Client>,
    timeout: Duration,
    batch_delay: Duration,
    max_items: usize,
    max_bytes: usize,
    retry: Retry,
    unauthorized: Unauthorized,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            builder: ClientBuilder::default(),
            client: None,
            timeout: Duration::from_secs(10),
            batch_delay: Duration::from_secs(5),
            max_items: 10_000,
            max_bytes: 16 << 20,
            retry: Retry::default(),
            unauthorized: Unauthorized::default(),
        }
    }
}

impl HttpOptions {
    /// The defaults, which each method names. A sink can have others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM file, in place of the system's.
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.http(|client| client.ca_file(path))
    }

    /// Connects through proxies. Default: none.
    pub fn proxy(self, proxies: ProxyOptions) -> Self {
        self.http(|client| client.proxy(proxies))
    }

    /// Sends to other machines without encryption too: anyone in between can read keys and data. Default: to this machine
    /// only.
    pub fn allow_plain_http(self) -> Self {
        self.http(ClientBuilder::allow_plain_http)
    }

    /// Changes the options for the HTTP client.
    pub fn http(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Takes from `defaults` everything not set for the HTTP client here.
    pub fn http_or(self, defaults: &ClientBuilder) -> Self {
        self.http(|client| client.or(defaults))
    }

    /// Takes from `defaults` the HTTP client, and everything not set for one here.
    pub fn client_or(mut self, defaults: &Self) -> Self {
        self.client = self.client.or_else(|| defaults.client.clone());
        self.http_or(&defaults.builder)
    }

    /// Uses this client, and none of the options for one. Default: each sink has its own.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// How long one request may take. Default: 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long items gather before they are sent. Default: 5 seconds.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.batch_delay = delay;
        self
    }

    /// How many items, and how many bytes of them, may wait. What exceeds either is dropped and counted. Default: 10,000 and
    /// 16 MiB.
    pub fn max_queue(mut self, items: usize, bytes: usize) -> Self {
        (self.max_items, self.max_bytes) = (items, bytes);
        self
    }

    /// How often a request is tried again, and how long after. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Tries as often and as long as it takes, and keeps items whose key was not accepted: for items that are kept elsewhere
    /// until they have arrived.
    pub fn patient(mut self) -> Self {
        self.retry = self.retry.max_attempts(u32::MAX).max_age(Duration::MAX);
        self.unauthorized = Unauthorized::Keep;
        self
    }

    /// What happens to items whose key was not accepted. Default: [`Unauthorized::default`].
    pub fn unauthorized(mut self, unauthorized: Unauthorized) -> Self {
        self.unauthorized = unauthorized;
        self
    }

    /// The client, after a check that it can reach `endpoint` at all.
    ///
    /// # Errors
    /// When the client cannot be made, or `endpoint` needs encryption or TLS: see [`Client::check`].
    pub fn client_for(&self, endpoint: &Endpoint) -> Result<Client, BuildError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.builder.clone().build()?,
        };
        client.check(endpoint)?;
        Ok(client)
    }

    /// A pipeline with these options, for a sink that adds its own. `name` is the label `sink` of its metrics.
    pub fn pipeline(&self, name: impl Into<Cow<'static, str>>) -> PipelineBuilder {
        Pipeline::<()>::builder(name)
            .max_items(self.max_items)
            .max_bytes(self.max_bytes)
            .batch_delay(self.batch_delay)
            .timeout(self.timeout)
            .retry(self.retry)
            .unauthorized(self.unauthorized)
    }

    /// Starts a sink: its client, checked against `endpoint`, and its pipeline.
    ///
    /// `name` is the label `sink` of its metrics, `batch` the most items and bytes of one request. `make` makes the protocol,
    /// again after it panicked.
    ///
    /// # Errors
    /// As [`client_for`](Self::client_for), and when no thread can be started.
    pub fn start<P, F>(
        self,
        name: impl Into<Cow<'static, str>>,
        endpoint: &Endpoint,
        batch: (usize, usize),
        mut make: F,
    ) -> Result<Pipeline<P::Item>, BuildError>
    where
        P: Protocol,
        F: FnMut() -> P + Send + 'static,
    {
        let client = self.client_for(endpoint)?;
        let (items, bytes) = batch;
        self.pipeline(name).batch_items(items).batch_bytes(bytes).build(move || Ok(Http::new(client.clone(), make())))
    }
}
