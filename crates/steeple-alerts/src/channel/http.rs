use std::time::Duration;

use steeple_export::{Client, Endpoint, Http, Pipeline, Protocol, Retry, Unauthorized};

use crate::{BuildError, message::Notification};

/// How a channel over HTTP is reached.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a channel gets them"]
pub struct Connection {
    client: Option<Client>,
    timeout: Duration,
    group_wait: Duration,
    retry: Retry,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            client: None,
            timeout: Duration::from_secs(15),
            group_wait: Duration::from_secs(10),
            // An alert that is a day old is no alert any more.
            retry: Retry::default().max_attempts(u32::MAX).max_age(Duration::from_secs(86_400)),
        }
    }
}

impl Connection {
    /// The HTTP client: its proxy, its certificates. Default: a client with the system's root certificates.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// How long one request may take. Default: 15 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long alerts gather for one message. Default: 10 seconds.
    pub fn group_wait(mut self, wait: Duration) -> Self {
        self.group_wait = wait;
        self
    }

    /// How often a message is tried again, and how long after. Default: for 24 hours.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    pub(super) fn start<P, F>(
        self,
        name: &'static str,
        endpoint: &Endpoint,
        alerts: usize,
        mut make: F,
    ) -> Result<Pipeline<Notification>, BuildError>
    where
        P: Protocol<Item = Notification>,
        F: FnMut() -> P + Send + 'static,
    {
        let client = match self.client {
            Some(client) => client,
            None => Client::builder()
                .user_agent(concat!("steeple-alerts/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| BuildError::channel(name, error))?,
        };
        client.check(endpoint).map_err(|error| BuildError::channel(name, error))?;
        Pipeline::builder(name)
            .max_items(1_000)
            .max_bytes(4 << 20)
            .batch_items(alerts)
            .batch_delay(self.group_wait)
            .timeout(self.timeout)
            .retry(self.retry)
            .unauthorized(Unauthorized::Keep)
            .build(move || Ok(Http::new(client.clone(), make())))
            .map_err(|error| BuildError::channel(name, error))
    }
}
