use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use serde::Serialize;
use steeple_core::Exchange;
use steeple_export::Sink;

use crate::{
    BuildError, Class, Event, EventStats, EventsBuilder, Meter, OutletStats, Receipt, Rejected, SinkContext, Tracked,
    dead,
    name::is_name,
    outlet::Outlet,
    page_view::{self, Sampled},
    pending::{self, Measurement},
    record::{Context, Names, Record},
    settling::Registered,
    stats::Counts,
    view::{self, OutboxView},
};

#[cfg(feature = "outbox")]
mod store;

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
    outlets: Vec<Kept>,
    meter: Option<Arc<dyn Meter>>,
    named: Mutex<HashSet<Arc<str>>>,
    counts: Counts,
    reads_ga: bool,
    has_people: bool,
    has_erasures: bool,
    sampled: Sampled,
    #[cfg(feature = "outbox")]
    store: Option<store::Store>,
}

/// A sink, and its pipeline.
struct Kept {
    outlet: Outlet,
    registered: Option<Registered>,
    /// Its events come from the store.
    #[cfg(feature = "outbox")]
    feed: Option<steeple_export::store::spool::Feed<Tracked>>,
}

impl Kept {
    /// Whether its events come from memory.
    #[cfg_attr(not(feature = "outbox"), expect(clippy::unused_self, reason = "the store's feature looks at it"))]
    fn is_direct(&self) -> bool {
        #[cfg(feature = "outbox")]
        let is_direct = self.feed.is_none();
        #[cfg(not(feature = "outbox"))]
        let is_direct = true;
        is_direct
    }
}

/// The next process that opens the store sends the stored events: nothing goes on in the background.
#[cfg(feature = "outbox")]
impl Drop for Inner {
    fn drop(&mut self) {
        for feed in self.outlets.iter().filter_map(|kept| kept.feed.as_ref()) {
            let _ending = feed.close();
        }
    }
}

impl Events {
    /// Options, all with a default. Without a sink, events are counted and go nowhere.
    pub fn builder() -> EventsBuilder {
        EventsBuilder::default()
    }

    pub(crate) fn new(
        outlets: Vec<Outlet>,
        meter: Option<Arc<dyn Meter>>,
        context: &SinkContext,
        sampled: Sampled,
        #[cfg(feature = "outbox")] receipt_timeout: std::time::Duration,
    ) -> Result<Self, BuildError> {
        let reads_ga = outlets.iter().any(Outlet::needs_client_id);
        let has_people = outlets.iter().any(Outlet::takes_people);
        let has_erasures = outlets.iter().any(Outlet::takes_erasures);
        let keep = |outlet: Outlet| {
            let registered = context.registered(outlet.name());
            if let Some(registered) = &registered {
                registered.counts.set_analytics(outlet.is_analytics());
            }
            #[cfg(feature = "outbox")]
            let feed = match registered.as_ref().and_then(|registered| registered.outbox.clone()) {
                Some((outbox, id)) => Some(
                    crate::outbox::feed(&outbox, id, outlet.clone())
                        .map_err(|error| BuildError::sink("outbox", error))?,
                ),
                None => None,
            };
            Ok(Kept {
                outlet,
                registered,
                #[cfg(feature = "outbox")]
                feed,
            })
        };
        let outlets = outlets.into_iter().map(keep).collect::<Result<_, BuildError>>()?;
        #[cfg(feature = "outbox")]
        let store = match &context.outbox {
            Some(outbox) => Some(store::Store::new(outbox.clone(), context.scrubber.clone(), receipt_timeout)?),
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            outlets,
            meter,
            named: Mutex::default(),
            counts: Counts::default(),
            reads_ga,
            has_people,
            has_erasures,
            sampled,
            #[cfg(feature = "outbox")]
            store,
        })))
    }

    fn nowhere() -> Self {
        Self(Arc::new(Inner {
            outlets: Vec::new(),
            meter: None,
            named: Mutex::default(),
            counts: Counts::default(),
            reads_ga: false,
            has_people: false,
            has_erasures: false,
            sampled: Sampled::default(),
            #[cfg(feature = "outbox")]
            store: None,
        }))
    }

    /// Events that go nowhere and are not counted. Costs no thread, file or allocation after the first call.
    pub fn disabled() -> Self {
        static DISABLED: OnceLock<Events> = OnceLock::new();
        DISABLED.get_or_init(Self::nowhere).clone()
    }

    /// Makes these the process's events, which [`current`](Self::current) and the Axum extractor find, and keeps them until
    /// they are [taken back](Self::uninstall). The last ones stay.
    pub fn install(&self) {
        *INSTALLED.write().unwrap_or_else(PoisonError::into_inner) = Some(self.clone());
    }

    /// Takes these back as the process's events, if they still are.
    pub fn uninstall(&self) {
        let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
        if installed.as_ref().is_some_and(|installed| Arc::ptr_eq(&installed.0, &self.0)) {
            *installed = None;
        }
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

    /// Tracks one of so many events, for those of which there are many: 0.01 for each hundredth. `event` is made for these
    /// alone.
    pub fn track_sampled<E: Event>(&self, ratio: f64, event: impl FnOnce() -> E) -> Option<Receipt> {
        page_view::takes(ratio).then(|| self.track(event()))
    }

    /// Tracks an event in the name of an exchange.
    pub(crate) fn track_of<E: Event>(&self, exchange: &Exchange, event: &E) -> Receipt {
        self.measure(event);
        self.accept(const { Names::of::<E>() }, E::CLASS, event, || Context::of(exchange))
    }

    pub(crate) fn sampled(&self) -> Sampled {
        self.0.sampled
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
        match Record::begin(names, E::CLASS, &event, context) {
            Ok(record) => {
                let measured = self.0.meter.as_ref().map(|meter| Measurement::of(&event, meter));
                pending::hold(&exchange, self, record, measured);
                Receipt::new(None)
            }
            Err(reason) => self.reject(reason),
        }
    }

    /// What became of the events so far.
    pub fn stats(&self) -> EventStats {
        self.0.counts.read()
    }

    /// The sinks: their queues, losses and health; the store among them where there is one.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        #[cfg(feature = "outbox")]
        if let Some(store) = &self.0.store {
            sinks.push(Arc::new(store.outbox.spool.clone()));
        }
        for kept in &self.0.outlets {
            #[cfg(feature = "outbox")]
            if let Some(feed) = &kept.feed {
                sinks.push(feed.sink());
                continue;
            }
            sinks.push(Arc::new(kept.outlet.pipeline().clone()));
        }
        sinks
    }

    /// Events that a sink did not get because the visitor refused, or because nothing identifies the visitor.
    pub fn skipped(&self) -> Vec<(String, u64)> {
        self.0.outlets.iter().map(|kept| kept.outlet.skipped()).collect()
    }

    /// What became of the events, by sink.
    pub fn sink_stats(&self) -> Vec<OutletStats> {
        let of = |kept: &Kept| {
            #[cfg_attr(not(feature = "outbox"), expect(unused_mut, reason = "the store knows more"))]
            let mut stats = kept.outlet.stats(kept.registered.as_ref().map(|registered| &*registered.counts));
            #[cfg(feature = "outbox")]
            if let (Some(store), Some(feed)) = (&self.0.store, &kept.feed) {
                store.complete(feed, &mut stats);
            }
            stats
        };
        self.0.outlets.iter().map(of).collect()
    }

    /// What waits for each sink, and the newest dead letters, the newest first: at most `max_dead_letters`, and
    /// [`MAX_DEAD_LETTERS`](crate::MAX_DEAD_LETTERS). What a store cannot read is left out.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), steeple_events::BuildError> {
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let events = steeple_events::Events::builder().build()?;
    /// let outbox = events.outbox(20).await;
    /// assert!(outbox.sinks.is_empty() && outbox.dead_letters.is_empty());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg_attr(not(feature = "outbox"), expect(clippy::unused_async, reason = "a store is read on its own thread"))]
    pub async fn outbox(&self, max_dead_letters: usize) -> OutboxView {
        let max = max_dead_letters.min(view::MAX_DEAD_LETTERS);
        #[cfg(feature = "outbox")]
        if let Some(store) = &self.0.store {
            let dead_letters = dead::newest(store.dead_letters(self.outlet_names(), max).await, max);
            return OutboxView { is_durable: true, sinks: self.sink_stats(), dead_letters };
        }
        let counts = self.0.outlets.iter().filter_map(|kept| kept.registered.as_ref());
        let dead = counts.flat_map(|registered| registered.counts.remembered.read()).collect();
        OutboxView { is_durable: false, sinks: self.sink_stats(), dead_letters: dead::newest(dead, max) }
    }

    #[cfg(feature = "outbox")]
    fn outlet_names(&self) -> Vec<String> {
        self.0.outlets.iter().map(|kept| kept.outlet.name().to_owned()).collect()
    }

    /// Whether events go anywhere.
    pub fn has_sinks(&self) -> bool {
        !self.0.outlets.is_empty()
    }

    /// Whether a sink takes profiles of users.
    pub(crate) fn takes_person(&self, kind: crate::record::Kind) -> bool {
        if kind == crate::record::Kind::PersonDelete { self.0.has_erasures } else { self.0.has_people }
    }

    pub(crate) fn reads_ga(&self) -> bool {
        self.0.reads_ga
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The identity of these events, see [`steeple_core::Identity`].
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
            return Receipt::new(None);
        }
        match Record::begin(names, class, properties, context()) {
            Ok(record) => self.hand_over(record),
            Err(reason) => self.reject(reason),
        }
    }

    /// Counts an event that is complete and hands it to the store and the sinks.
    pub(crate) fn hand_over(
        &self,
        #[cfg_attr(not(feature = "outbox"), expect(unused_mut, reason = "the feature notes the store in it"))]
        mut record: Record,
    ) -> Receipt {
        #[cfg(feature = "outbox")]
        if let Some(store) = &self.0.store {
            record.storing = Some(Arc::clone(&store.storing));
        }
        self.deliver(Arc::new(record))
    }

    pub(crate) fn deliver(&self, record: Arc<Record>) -> Receipt {
        if record.kind.is_event() {
            self.0.counts.track(record.class);
            tracing::debug!(
                target: "steeple::events",
                event_id = record.id.as_str(),
                event_name = record.names.name(),
                event_class = record.class.as_str(),
                "event tracked"
            );
        }
        let tracked = Tracked(record);
        #[cfg_attr(not(feature = "outbox"), expect(unused_mut, reason = "the store gives one"))]
        let mut receipt = Receipt::new(None);
        #[cfg(feature = "outbox")]
        if let Some(store) = &self.0.store {
            let mut fed = self.0.outlets.iter().filter(|kept| !kept.is_direct());
            // What no sink may have is not kept either.
            if fed.any(|kept| kept.outlet.admits(&tracked.0)) {
                receipt.ticket = Some(store.append(&tracked));
                crate::hold_response::note(&receipt);
            } else {
                let fed = self.0.outlets.iter().filter(|kept| !kept.is_direct());
                fed.filter(|kept| kept.outlet.misses(&tracked.0)).for_each(|kept| kept.outlet.skip());
            }
        }
        for kept in &self.0.outlets {
            if kept.is_direct() {
                kept.outlet.offer(&tracked);
            }
        }
        receipt
    }

    pub(crate) fn reject(&self, reason: Rejected) -> Receipt {
        self.0.counts.reject(reason);
        Receipt::new(Some(reason))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("sinks", &self.0.outlets.len()).field("stats", &self.stats()).finish()
    }
}
