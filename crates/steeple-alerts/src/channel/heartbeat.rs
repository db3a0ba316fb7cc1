//! A ping that stops when the evaluation does: its absence reports what no alert can.

use std::time::Duration;

use steeple_export::{Endpoint, HttpOptions, Pipeline, Protocol, Reason, Request, Retry};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{ChannelContext, http::options};
use crate::BuildError;

/// Pings a URL for as long as the rules are evaluated: a check that expects it, as at healthchecks.io, reports when it stays
/// away, because the process, its network or its evaluation hangs.
#[derive(Clone)]
#[must_use = "options do nothing until alerts are built with them"]
pub struct Heartbeat {
    url: String,
    every: Duration,
    pub(crate) stalled_after: Duration,
    http: HttpOptions,
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Knowing the URL is enough to ping it.
        f.debug_struct("Heartbeat").field("every", &self.every).finish_non_exhaustive()
    }
}

impl Heartbeat {
    /// The URL. It gets a POST without a body.
    pub fn new(url: impl Into<String>) -> Self {
        let http = options()
            .batch_delay(Duration::ZERO)
            .max_queue(2, 1 << 10)
            .retry(Retry::default().max_attempts(3).max_age(Duration::from_secs(60)));
        Self { url: url.into(), every: Duration::from_secs(60), stalled_after: Duration::from_secs(45), http }
    }

    /// How often. Default: every 60 seconds.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How long the last evaluation may be over for a ping to be sent. Rules are evaluated at least every 10 seconds. Default:
    /// 45 seconds.
    pub fn stalled_after(mut self, time: Duration) -> Self {
        self.stalled_after = time;
        self
    }

    /// Changes how the receiver is reached.
    pub fn http(mut self, change: impl FnOnce(HttpOptions) -> HttpOptions) -> Self {
        self.http = change(self.http);
        self
    }

    /// `is_alive` returns each time whether the evaluation goes on.
    pub(crate) fn start(
        self,
        context: &ChannelContext,
        is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Pipeline<()>, BuildError> {
        let endpoint =
            Endpoint::parse(&self.url).map_err(|_unusable| BuildError::setting("heartbeat", "a URL to ping"))?;
        let failed = |error| BuildError::channel("heartbeat", error);
        let options = self.http.http_or(context.http());
        let client = options.client_for(&endpoint).map_err(failed)?;
        let scrubber = context.scrubber.clone();
        let make = move || {
            Ok(steeple_export::Http::new(
                client.clone(),
                Pings { endpoint: endpoint.clone(), scrubber: scrubber.clone(), is_alive: Box::new(is_alive.clone()) },
            ))
        };
        options.pipeline("heartbeat").batch_items(1).tick(self.every).build(make).map_err(failed)
    }
}

pub(super) struct Pings {
    pub(super) endpoint: Endpoint,
    pub(super) scrubber: Scrubber,
    pub(super) is_alive: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Protocol for Pings {
    type Item = ();
    type Ready = ();

    fn size((): &()) -> usize {
        1
    }

    fn scrub(&mut self, (): ()) -> Scrubbed<()> {
        self.scrubber.scrub_with((), |_, ()| ())
    }

    fn encode(&mut self, _batch: &[Scrubbed<()>]) -> Result<Request, Reason> {
        Ok(Request::post(&self.endpoint))
    }

    fn tick(&mut self) -> Vec<()> {
        if (self.is_alive)() { vec![()] } else { Vec::new() }
    }
}
