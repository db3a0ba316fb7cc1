use std::time::Duration;

use http::HeaderValue;
use steeple_export::{Client, Endpoint, Http, Pipeline, Protocol, Retry};

use crate::{BuildError, SinkContext, Tracked};

/// How a sink over HTTP is reached. By default, sinks share a client.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a sink gets them"]
pub struct Connection {
    client: Option<Client>,
    timeout: Duration,
    batch_delay: Duration,
    max_items: usize,
    max_bytes: usize,
    retry: Retry,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            client: None,
            timeout: Duration::from_secs(10),
            batch_delay: Duration::from_secs(5),
            max_items: 10_000,
            max_bytes: 16 << 20,
            retry: Retry::default(),
        }
    }
}

impl Connection {
    /// The HTTP client: its proxy, its certificates. Default: that of the events, which all sinks share.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// How long one request may take. Default: 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long events gather before they are sent. Default: 5 seconds.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.batch_delay = delay;
        self
    }

    /// How many events, and how many bytes of them, wait at most. What exceeds it is dropped and counted. Default: 10,000
    /// and 16 MiB.
    pub fn max_queue(mut self, items: usize, bytes: usize) -> Self {
        (self.max_items, self.max_bytes) = (items, bytes);
        self
    }

    /// How often a delivery is tried again, and how long after. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Starts a pipeline. Called once for each sink.
    ///
    /// `name` is the label `sink` of its metrics, `batch` the most events and bytes of one request; `make` makes the
    /// protocol, again after it panicked.
    ///
    /// # Errors
    /// When the client cannot be made, does not reach such an endpoint (plain HTTP beyond loopback), or no thread starts.
    pub fn start<P, F>(
        self,
        context: &SinkContext,
        name: &'static str,
        endpoint: &Endpoint,
        batch: (usize, usize),
        mut make: F,
    ) -> Result<Pipeline<Tracked>, BuildError>
    where
        P: Protocol<Item = Tracked>,
        F: FnMut() -> P + Send + 'static,
    {
        let client = match self.client {
            Some(client) => client,
            None => context.client().map_err(|error| BuildError::sink(name, error))?,
        };
        client.check(endpoint).map_err(|error| BuildError::sink(name, error))?;
        let (batch_items, batch_bytes) = batch;
        Pipeline::builder(name)
            .max_items(self.max_items)
            .max_bytes(self.max_bytes)
            .batch_items(batch_items)
            .batch_bytes(batch_bytes)
            .batch_delay(self.batch_delay)
            .timeout(self.timeout)
            .retry(self.retry)
            .build(move || Ok(Http::new(client.clone(), make())))
            .map_err(|error| BuildError::sink(name, error))
    }
}

/// An endpoint from a URL that was configured.
///
/// # Errors
/// When it is not a URL. What it holds is not shown.
pub fn endpoint(setting: &'static str, url: &str) -> Result<Endpoint, BuildError> {
    Endpoint::parse(url).map_err(|_unusable| BuildError::setting(setting, "a URL such as `https://example.org/path`"))
}

/// A header's value that is a key: it is not shown anywhere.
///
/// # Errors
/// When it cannot be the value of a header.
pub fn secret(setting: &'static str, value: &str) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_invalid| BuildError::setting(setting, "a key without line breaks and other control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}
