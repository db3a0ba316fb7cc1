#[cfg(feature = "outbox")]
use std::time::Duration;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use steeple_export::{Exporter, Pipeline, PipelineBuilder};
use steeple_scrub::Scrubber;

use crate::{
    BuildError, Events, Meter, Outgoing, Outlet, Service, Tracked,
    page_view::Sampled,
    settling::{Feeding, Registered, Settling},
};

/// Options for [`Events`], all with a default.
#[derive(Default)]
#[must_use = "options do nothing until they are built"]
pub struct EventsBuilder {
    service: Service,
    scrubber: Scrubber,
    meter: Option<Arc<dyn Meter>>,
    sinks: Vec<Box<dyn IntoOutlet>>,
    #[cfg(feature = "http")]
    http: steeple_export::ClientBuilder,
    #[cfg(feature = "outbox")]
    outbox: OutboxOptions,
    sampled: Sampled,
}

/// Where and how events are kept.
#[cfg(feature = "outbox")]
#[derive(Clone, Debug)]
struct OutboxOptions {
    directory: Option<std::path::PathBuf>,
    max_bytes: u64,
    max_age: Duration,
    receipt_timeout: Duration,
    retry_after: Duration,
    timing: steeple_export::store::spool::TimingOptions,
    replay_rate: u32,
}

#[cfg(feature = "outbox")]
impl Default for OutboxOptions {
    fn default() -> Self {
        Self {
            directory: None,
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(14 * 86_400),
            receipt_timeout: Duration::from_millis(250),
            retry_after: Duration::from_secs(5),
            timing: steeple_export::store::spool::TimingOptions::default(),
            replay_rate: 5_000,
        }
    }
}

/// What every sink is built with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkContext {
    /// Removes secrets; [`Tracked::scrub`](crate::Tracked::scrub) wants it.
    pub scrubber: Scrubber,
    /// Which service the events come from.
    pub service: Arc<Service>,
    #[cfg(feature = "http")]
    http: steeple_export::ClientBuilder,
    #[cfg(feature = "outbox")]
    pub(crate) outbox: Option<crate::hold::Outbox>,
    /// By name: what the context knows of the pipelines that were built with it.
    registered: Arc<Mutex<HashMap<String, Registered>>>,
}

impl SinkContext {
    /// Starts the pipeline of a sink, fed by the store where there is one. `batch_items` is how many events go into one
    /// batch.
    ///
    /// A pipeline that was not built here gets its events from memory.
    ///
    /// # Errors
    /// When the exporter cannot be made, no thread starts, or the store cannot be written.
    pub fn pipeline<E, F>(
        &self,
        name: &'static str,
        pipeline: PipelineBuilder,
        batch_items: usize,
        make: F,
    ) -> Result<Pipeline<Tracked>, BuildError>
    where
        E: Exporter<Item = Tracked, Ready = Outgoing>,
        F: FnMut() -> Result<E, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        self.pipeline_with(name, pipeline, batch_items, Feeding::default(), make)
    }

    pub(crate) fn pipeline_with<E, F>(
        &self,
        name: &'static str,
        pipeline: PipelineBuilder,
        batch_items: usize,
        feeding: Feeding,
        mut make: F,
    ) -> Result<Pipeline<Tracked>, BuildError>
    where
        E: Exporter<Item = Tracked, Ready = Outgoing>,
        F: FnMut() -> Result<E, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        #[cfg(feature = "outbox")]
        let outbox = match &self.outbox {
            Some(outbox) => {
                let options = crate::outbox::options(outbox, E::IN_FLIGHT, batch_items, feeding);
                let id = outbox.spool.register(name, options).map_err(|error| BuildError::sink(name, error))?;
                Some((outbox.clone(), id))
            }
            None => None,
        };
        let registered = Registered {
            #[cfg(feature = "outbox")]
            outbox,
            feeding,
            counts: Arc::default(),
        };
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), registered.clone());
        pipeline
            .batch_items(batch_items)
            .in_doubt(feeding.in_doubt)
            .build(move || Ok(Settling::new(name, make()?, &registered)))
            .map_err(|error| BuildError::sink(name, error))
    }

    pub(crate) fn registered(&self, name: &str) -> Option<Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether events are kept on disk.
    pub fn is_durable(&self) -> bool {
        #[cfg(feature = "outbox")]
        let is_durable = self.outbox.is_some();
        #[cfg(not(feature = "outbox"))]
        let is_durable = false;
        is_durable
    }
}

#[cfg(feature = "http")]
impl SinkContext {
    /// How receivers are reached, where a sink does not set it: user agent, proxies, certificates.
    pub const fn http(&self) -> &steeple_export::ClientBuilder {
        &self.http
    }
}

/// A configured sink that has not been started.
pub trait IntoOutlet: Send + 'static {
    /// Starts the sink.
    ///
    /// # Errors
    /// When it cannot start as configured.
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError>;
}

impl EventsBuilder {
    /// Which service the events come from. Default: nothing is known of it.
    pub fn service(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    /// What counts as a secret. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Counts the events in the application's metrics. Default: events are not counted there.
    pub fn meter(mut self, meter: Arc<dyn Meter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Sends events to this sink as well. Default: none.
    pub fn sink(mut self, sink: impl IntoOutlet) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Changes how receivers are reached, where a sink does not set it: proxies, certificates.
    #[cfg(feature = "http")]
    pub fn http(mut self, change: impl FnOnce(steeple_export::ClientBuilder) -> steeple_export::ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    /// Tracks a page view for so many of all pages that are looked at: 1.0 for each. A page is an answer in `text/html` with
    /// 2xx to a GET of a browser, not fetched ahead, whose visitor did not refuse. Default: 0.0, none.
    pub fn page_views(mut self, ratio: f64) -> Self {
        self.sampled.page_views = ratio;
        self
    }

    /// Tracks an [`ApiResponse`](crate::preset::ApiResponse) for so many of all exchanges: 0.01 for each hundredth. Default:
    /// 0.0, none.
    pub fn api_responses(mut self, ratio: f64) -> Self {
        self.sampled.api_responses = ratio;
        self
    }

    /// Tracks a [`DatabaseQuery`](crate::preset::DatabaseQuery) for so many of all queries that are
    /// [observed](Events::observe_query): 0.01 for each hundredth. The facade has those observed that its metrics time.
    /// Default: 0.0, none.
    pub fn database_queries(mut self, ratio: f64) -> Self {
        self.sampled.database_queries = ratio;
        self
    }

    /// Tracks a [`CacheOperation`](crate::preset::CacheOperation) for so many of all operations on a cache that are
    /// [observed](Events::observe_cache): 0.01 for each hundredth. The facade has those observed that its metrics count.
    /// Default: 0.0, none.
    pub fn cache_operations(mut self, ratio: f64) -> Self {
        self.sampled.cache_operations = ratio;
        self
    }

    /// Keeps events in this directory until every sink has them. It is made if it is not there, for its owner alone; several
    /// processes may share it. Default: events are kept in memory alone.
    ///
    /// The directory has to be on a local file system. Without a sink, nothing is made.
    #[cfg(feature = "outbox")]
    pub fn directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.outbox.directory = Some(directory.into());
        self
    }

    /// [`directory`](Self::directory) where it is there. `None`: this is built without the feature `outbox`.
    pub fn try_directory(self, directory: impl Into<std::path::PathBuf>) -> Option<Self> {
        #[cfg(feature = "outbox")]
        let kept = Some(self.directory(directory));
        #[cfg(not(feature = "outbox"))]
        let kept = {
            drop((self, directory));
            None
        };
        kept
    }

    /// How many bytes of events are kept. What exceeds them: the newest of the lowest class goes first. Default: 1 GiB.
    #[cfg(feature = "outbox")]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.outbox.max_bytes = bytes;
        self
    }

    /// How old an event may become. Default: 14 days.
    #[cfg(feature = "outbox")]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.outbox.max_age = age;
        self
    }

    /// How long [`Receipt::stored`](crate::Receipt::stored) waits at most. Default: 250 milliseconds.
    #[cfg(feature = "outbox")]
    pub fn receipt_timeout(mut self, timeout: Duration) -> Self {
        self.outbox.receipt_timeout = timeout;
        self
    }

    /// How soon an event that is kept is handed to its sink again, after a failure that was not the event's. Default: 5 seconds.
    #[cfg(feature = "outbox")]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.outbox.retry_after = time;
        self
    }

    /// How often the store of events looks around. Default: as in `TimingOptions`.
    #[cfg(feature = "outbox")]
    pub fn store_timing(mut self, timing: steeple_export::store::spool::TimingOptions) -> Self {
        self.outbox.timing = timing;
        self
    }

    /// How many events a second each sink gets at most of a backlog, once more waits than two windows of it (a window is two
    /// batches for each request that may be under way, at most 4,000 events). What is tracked meanwhile goes beside it: half
    /// of what is read at once, and half of what is under way, is for new events, unless there are fewer. Where a sink keeps
    /// the order of a user's events, new ones of a user wait for that user's older ones. 0: as fast as the receiver takes
    /// them. Default: 5,000.
    #[cfg(feature = "outbox")]
    pub fn replay_rate(mut self, events: u32) -> Self {
        self.outbox.replay_rate = events;
        self
    }

    /// Whether there is a sink.
    pub fn has_sinks(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// Starts the sinks.
    ///
    /// # Errors
    /// When a sink cannot start as configured. The error names the setting, what it was and what it may be.
    pub fn build(self) -> Result<Events, BuildError> {
        #[cfg(feature = "outbox")]
        let outbox = if self.sinks.is_empty() { None } else { self.outbox.open()? };
        let context =
            SinkContext {
                scrubber: self.scrubber,
                service: Arc::new(self.service),
                #[cfg(feature = "http")]
                http: self.http.or(&steeple_export::Client::builder()
                    .user_agent(concat!("steeple-events/", env!("CARGO_PKG_VERSION")))),
                #[cfg(feature = "outbox")]
                outbox,
                registered: Arc::default(),
            };
        let outlets = self.sinks.into_iter().map(|sink| sink.into_outlet(&context)).collect::<Result<Vec<_>, _>>()?;
        let outlets = outlets.into_iter().flat_map(Outlet::flatten).collect();
        Events::new(
            outlets,
            self.meter,
            &context,
            self.sampled,
            #[cfg(feature = "outbox")]
            self.outbox.receipt_timeout,
        )
    }
}

#[cfg(feature = "outbox")]
impl OutboxOptions {
    fn open(&self) -> Result<Option<crate::hold::Outbox>, BuildError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let spool = steeple_export::store::spool::Spool::builder(directory)
            .max_bytes(self.max_bytes)
            .max_age(self.max_age)
            .timing(self.timing)
            .open()
            .map_err(|error| BuildError::sink("outbox", error))?;
        let key = crate::secret::key(directory).map_err(|error| BuildError::sink("outbox", error))?;
        Ok(Some(crate::hold::Outbox::new(spool, key, self.retry_after, self.replay_rate)))
    }
}

impl fmt::Debug for EventsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsBuilder")
            .field("service", &self.service)
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}
