use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use serde::Serialize;
use steeple_core::Exchange;
use steeple_export::Sink;

use crate::{
    Class, Event, EventStats, EventsBuilder, Meter, Rejected, Tracked,
    name::is_name,
    outlet::Outlet,
    pending::{self, Measurement},
    record::{Context, Names, Record},
    stats::Counts,
};

/// How many names [`Events::track_named`] takes over the life of the process.
pub const MAX_NAMED: usize = 256;

/// The process's, see [`Events::install`].
static INSTALLED: RwLock<Option<Events>> = RwLock::new(None);

/// Takes events, counts them and hands them to every sink that is configured. A cheap clone.
///
/// Tracking never blocks, fails or panics: what does not find room is dropped and counted.
///
/// # Examples
/// ```
/// use steeple_events::{Events, preset::FeatureUsed};
///
/// let events = Events::builder().build()?;
/// events.track(FeatureUsed { feature: "export" });
/// assert_eq!(events.stats().tracked_total(), 1);
/// # Ok::<(), steeple_events::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    outlets: Vec<Outlet>,
    meter: Option<Arc<dyn Meter>>,
    named: Mutex<HashSet<Arc<str>>>,
    counts: Counts,
    reads_ga: bool,
}

impl Events {
    /// Options, all with a default. Without a sink, events are counted and go nowhere.
    pub fn builder() -> EventsBuilder {
        EventsBuilder::default()
    }

    pub(crate) fn new(outlets: Vec<Outlet>, meter: Option<Arc<dyn Meter>>) -> Self {
        let reads_ga = outlets.iter().any(Outlet::needs_client_id);
        Self(Arc::new(Inner { outlets, meter, named: Mutex::default(), counts: Counts::default(), reads_ga }))
    }

    /// Events that go nowhere and that no one counts. Costs no thread, file or allocation after the first call.
    pub fn disabled() -> Self {
        static DISABLED: OnceLock<Events> = OnceLock::new();
        DISABLED.get_or_init(|| Self::new(Vec::new(), None)).clone()
    }

    /// Makes these the process's events, which [`current`](Self::current) and the Axum extractor find. The last ones stay.
    pub fn install(&self) {
        *INSTALLED.write().unwrap_or_else(PoisonError::into_inner) = Some(self.clone());
    }

    /// The process's events; [disabled](Self::disabled) ones where none were installed.
    pub fn current() -> Self {
        let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner).clone();
        installed.unwrap_or_else(Self::disabled)
    }

    /// Tracks an event: increments its counters and hands it to the sinks, joined with the exchange that is being served
    /// (request id, trace, route, user).
    ///
    /// - Cost: two allocations where a sink is configured, none otherwise.
    #[expect(clippy::needless_pass_by_value, reason = "an event is made to be tracked, and callers write no `&`")]
    pub fn track<E: Event>(&self, event: E) -> Receipt {
        self.measure(&event);
        let names = const { Names::of::<E>() };
        self.accept(names, E::CLASS, &event, Context::current)
    }

    /// Tracks an event with a name that is known while the program runs only. At most [`MAX_NAMED`] names are taken.
    ///
    /// # Examples
    /// ```
    /// use steeple_events::{Events, Rejected};
    ///
    /// let events = Events::builder().build()?;
    /// events.track_named("report_exported", &serde_json::json!({"format": "pdf"}));
    /// assert_eq!(events.track_named("Not Valid", &()).rejected(), Some(Rejected::InvalidName));
    /// # Ok::<(), steeple_events::BuildError>(())
    /// ```
    pub fn track_named<P: Serialize + ?Sized>(&self, name: &str, properties: &P) -> Receipt {
        match self.admit(name) {
            Ok(name) => self.accept(Names::Dynamic(name), Class::Product, properties, Context::current),
            Err(reason) => self.reject(reason),
        }
    }

    /// Tracks an event once the exchange that is being served has ended well: its status is below 400 and its body
    /// went out whole. If it does not, the event is dropped and counted.
    ///
    /// Outside of an exchange, the event is tracked at once.
    pub fn on_success<E: Event>(&self, event: E) -> Receipt {
        let Some(exchange) = Exchange::current() else { return self.track(event) };
        let names = const { Names::of::<E>() };
        let context = Context::of(&exchange);
        match Record::new(names, E::CLASS, &event, context) {
            Ok(record) => {
                let measured = self.0.meter.as_ref().map(|meter| Measurement::of(&event, meter));
                pending::hold(&exchange, self, record, measured);
                Receipt { rejected: None }
            }
            Err(reason) => self.reject(reason),
        }
    }

    /// What became of the events so far.
    pub fn stats(&self) -> EventStats {
        self.0.counts.read()
    }

    /// The sinks: their queues, losses and health.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        self.0.outlets.iter().map(Outlet::sink).collect()
    }

    /// Events that a sink did not get because the visitor refused, or because nothing identifies the visitor.
    pub fn skipped(&self) -> Vec<(String, u64)> {
        self.0.outlets.iter().map(Outlet::skipped).collect()
    }

    /// Whether events go anywhere.
    pub fn has_sinks(&self) -> bool {
        !self.0.outlets.is_empty()
    }

    pub(crate) fn reads_ga(&self) -> bool {
        self.0.reads_ga
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What tells these events from others, see [`steeple_core::Identity`].
    pub(crate) fn identity(&self) -> steeple_core::Identity {
        steeple_core::Identity::of(&*self.0)
    }

    fn measure<E: Event>(&self, event: &E) {
        if let Some(meter) = &self.0.meter {
            if let Some(role) = event.role() {
                meter.role(role);
            }
            if let Some((counter, labels)) = event.counter() {
                meter.count(counter, labels.get(..counter.labels.len()).unwrap_or(&labels));
            }
        }
    }

    fn admit(&self, name: &str) -> Result<Arc<str>, Rejected> {
        if !is_name(name) || !crate::name::is_ga4(name) {
            return Err(Rejected::InvalidName);
        }
        let mut named = self.0.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = named.get(name) {
            return Ok(Arc::clone(known));
        }
        if named.len() >= MAX_NAMED {
            return Err(Rejected::TooManyNames);
        }
        let name: Arc<str> = name.into();
        named.insert(Arc::clone(&name));
        Ok(name)
    }

    fn accept<P: Serialize + ?Sized>(
        &self,
        names: Names,
        class: Class,
        properties: &P,
        context: impl FnOnce() -> Context,
    ) -> Receipt {
        if self.0.outlets.is_empty() {
            self.0.counts.track(class);
            return Receipt { rejected: None };
        }
        match Record::new(names, class, properties, context()) {
            Ok(record) => {
                self.deliver(record);
                Receipt { rejected: None }
            }
            Err(reason) => self.reject(reason),
        }
    }

    /// Counts an event that is complete and hands it to the sinks.
    pub(crate) fn deliver(&self, record: Arc<Record>) {
        self.0.counts.track(record.class);
        tracing::debug!(
            target: "steeple::events",
            event_id = record.id.as_str(),
            event_name = record.names.name(),
            event_class = record.class.as_str(),
            "event tracked"
        );
        let tracked = Tracked(record);
        for outlet in &self.0.outlets {
            outlet.offer(&tracked);
        }
    }

    pub(crate) fn reject(&self, reason: Rejected) -> Receipt {
        self.0.counts.reject(reason);
        Receipt { rejected: Some(reason) }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("sinks", &self.0.outlets.len()).field("stats", &self.stats()).finish()
    }
}

/// What became of an event when it was tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    rejected: Option<Rejected>,
}

impl Receipt {
    /// Whether the event was accepted.
    pub fn is_accepted(&self) -> bool {
        self.rejected.is_none()
    }

    /// Why the event was not accepted.
    pub fn rejected(&self) -> Option<Rejected> {
        self.rejected
    }
}
