use std::{fmt, sync::Arc};

use steeple_scrub::Scrubber;

use crate::{BuildError, Events, Meter, Outlet, Service};

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

    /// Whether there is a sink.
    pub fn has_sinks(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// Starts the sinks.
    ///
    /// # Errors
    /// When a sink cannot start as configured. The error names the setting, what it was and what it may be.
    pub fn build(self) -> Result<Events, BuildError> {
        let context =
            SinkContext {
                scrubber: self.scrubber,
                service: Arc::new(self.service),
                #[cfg(feature = "http")]
                http: self.http.or(&steeple_export::Client::builder()
                    .user_agent(concat!("steeple-events/", env!("CARGO_PKG_VERSION")))),
            };
        let outlets = self.sinks.into_iter().map(|sink| sink.into_outlet(&context)).collect::<Result<_, _>>()?;
        Ok(Events::new(outlets, self.meter))
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
