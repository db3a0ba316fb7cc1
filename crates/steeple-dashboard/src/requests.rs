//! The slowest and the latest failed requests, and what users do while somebody looks.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::request;
use serde::Serialize;
use steeple_core::{End, Exchange, Identity, Observer, Outcome, Signal, clock, text::cut};
use steeple_scrub::Scrubber;

/// How many of each kind are kept.
const MAX_REQUESTS: usize = 100;
/// The slowest of this long.
const KEPT: Duration = Duration::from_secs(3600);
/// Faster requests are never slow.
const FLOOR: Duration = Duration::from_millis(1);
/// Between two requests that are shown as activity.
const ACTIVITY_STEP: Duration = Duration::from_millis(100);

/// Keeps the slowest requests of the last hour, the latest failed ones, and, while somebody looks, some of what users do: 100
/// of each. An [`Observer`], to be put into the service's layer. A cheap clone.
///
/// Until a dashboard shows it, it observes nothing. Then a request that neither fails nor is among the slowest costs three
/// comparisons. Requests that are left out of the log ([`Signal::Log`]) are left out here.
#[derive(Clone)]
pub struct Requests(Arc<Inner>);

struct Inner {
    is_on: AtomicBool,
    has_viewers: AtomicBool,
    /// A request that took no longer than this is not among the slowest. Nanoseconds.
    slow_above: AtomicU64,
    /// When the next request may be shown as activity: nanoseconds since the first clock reading.
    next_activity: AtomicU64,
    /// Requests that found the lists in use.
    missed: AtomicU64,
    version: AtomicU64,
    start: std::time::Instant,
    scrubber: Scrubber,
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    slow: Vec<RequestRecord>,
    failed: VecDeque<RequestRecord>,
    activity: VecDeque<RequestRecord>,
}

/// One request. Nothing in it is secret: texts are scrubbed, the user is what the privacy policy lets sinks see.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RequestRecord {
    /// When it ended, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The HTTP method; empty for gRPC.
    pub method: &'static str,
    /// The route's template, `unmatched`, or the gRPC method.
    pub route: String,
    /// The HTTP status; 499 for a client that went away.
    pub status: u16,
    /// The gRPC status: `Internal`. Of gRPC calls alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<String>,
    /// Whether it failed for a reason on the server's side.
    pub failed: bool,
    /// How it ended: `completed`, `panicked`.
    pub outcome: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Its trace, if it was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The error, and its sources behind it.
    pub errors: Vec<String>,
    /// Its trace, if it was not sampled when the request ended.
    #[serde(skip)]
    unsampled: Option<String>,
}

impl RequestRecord {
    /// Shows the trace if it was kept after all.
    pub(crate) fn find_trace(&mut self, is_kept: impl FnOnce(&str) -> bool) {
        if self.trace_id.is_none() {
            self.trace_id = self.unsampled.take().filter(|id| is_kept(id));
        }
    }
}

/// The lists at one moment.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RequestLists {
    /// The slowest of the last hour, the slowest first.
    pub slow: Vec<RequestRecord>,
    /// Those that failed for a reason on the server's side, the latest first.
    pub failed: Vec<RequestRecord>,
    /// At most 10 a second of all requests of known users, the latest first; collected while somebody looks.
    pub activity: Vec<RequestRecord>,
    /// Requests that would have been in a list, but came while it was written.
    pub missed: u64,
}

impl Default for Requests {
    fn default() -> Self {
        Self::new(Scrubber::default())
    }
}

impl Requests {
    /// Empty lists. Texts of errors go through the scrubber.
    pub fn new(scrubber: Scrubber) -> Self {
        Self(Arc::new(Inner {
            is_on: AtomicBool::new(false),
            has_viewers: AtomicBool::new(false),
            slow_above: AtomicU64::new(nanos(FLOOR)),
            next_activity: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            version: AtomicU64::new(0),
            start: clock::now(),
            scrubber,
            lists: Mutex::default(),
        }))
    }

    /// The contents of the lists.
    pub fn lists(&self) -> RequestLists {
        let lists = self.lock();
        RequestLists {
            slow: lists.slow.clone(),
            failed: lists.failed.iter().cloned().collect(),
            activity: lists.activity.iter().cloned().collect(),
            missed: self.0.missed.load(Relaxed),
        }
    }

    /// Observes from now on.
    pub(crate) fn begin(&self) {
        self.0.is_on.store(true, Relaxed);
    }

    /// Whether somebody looks.
    pub(crate) fn set_viewers(&self, any: bool) {
        self.0.has_viewers.store(any, Relaxed);
        if !any {
            self.lock().activity.clear();
        }
    }

    /// Another number whenever something has changed.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Relaxed)
    }

    /// Forgets slow requests that are older than an hour. Called once in a while.
    pub(crate) fn forget(&self, now: Duration) {
        let oldest = millis(now.saturating_sub(KEPT));
        let mut lists = self.lock();
        let before = lists.slow.len();
        lists.slow.retain(|request| request.unix_ms >= oldest);
        if lists.slow.len() != before {
            self.0.slow_above.store(nanos(FLOOR), Relaxed);
            self.0.version.fetch_add(1, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.0.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_activity(&self, exchange: &Exchange) -> bool {
        if !self.0.has_viewers.load(Relaxed) {
            return false;
        }
        let now = nanos(clock::now().saturating_duration_since(self.0.start));
        let due = self.0.next_activity.load(Relaxed);
        let next = now.saturating_add(nanos(ACTIVITY_STEP));
        now >= due
            && exchange.visible_user().is_some_and(|user| !user.is_empty())
            && self.0.next_activity.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    fn record(&self, exchange: &Exchange, end: &End) -> RequestRecord {
        let text = |text: &str| cut(&self.0.scrubber.text(text), 256).to_owned();
        let (method, route) = match (exchange.rpc_method(), exchange.rule_name().or_else(|| exchange.route())) {
            (Some(rpc), _) => ("", rpc.to_owned()),
            (None, Some(route)) => (exchange.method(), route.to_string()),
            (None, None) => (exchange.method(), "unmatched".to_owned()),
        };
        let error = exchange.error();
        let mut errors: Vec<String> = error
            .iter()
            .flat_map(|error| std::iter::once(format!("{}: {}", error.type_name(), error.message())))
            .map(|error| text(&error))
            .collect();
        errors.extend(error.iter().flat_map(|error| error.chain().skip(1).take(8)).map(text));
        let user = exchange.visible_user();
        let user = user.as_ref().and_then(|user| user.id().or(user.name()).or(user.email()));
        let trace = exchange.trace().map(|trace| (trace.is_sampled(), trace.trace_id().to_string()));
        let (trace_id, unsampled) = match trace {
            Some((true, id)) => (Some(id), None),
            Some((false, id)) => (None, Some(id)),
            None => (None, None),
        };
        RequestRecord {
            unix_ms: millis(clock::unix_now()),
            method,
            route: text(&route),
            status: end.status_code(),
            grpc_status: end.grpc_status.map(|status| status.to_string()),
            failed: end.is_server_error(),
            outcome: end.outcome.as_str(),
            seconds: end.duration.as_secs_f64(),
            request_id: exchange.get_request_id().map(|id| text(id.as_str())),
            trace_id,
            unsampled,
            user: user.map(text),
            errors,
        }
    }
}

impl Lists {
    /// Returns how slow a request has to be from now on.
    fn slow(&mut self, request: RequestRecord) -> Option<u64> {
        let place = self.slow.partition_point(|other| other.seconds >= request.seconds);
        self.slow.insert(place, request);
        self.slow.truncate(MAX_REQUESTS);
        let last = self.slow.get(MAX_REQUESTS.saturating_sub(1))?;
        Some(nanos(Duration::from_secs_f64(last.seconds)))
    }
}

/// The same exchange may be observed twice, where layers are nested.
fn push(list: &mut VecDeque<RequestRecord>, request: RequestRecord) {
    if list.len() >= MAX_REQUESTS {
        list.pop_back();
    }
    list.push_front(request);
}

impl Observer for Requests {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        None
    }

    fn on_request(&self, _exchange: &Exchange, _request: &mut request::Parts) -> Option<()> {
        self.0.is_on.load(Relaxed).then_some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        let failed = end.is_server_error() && !end.is_unknown_method();
        let is_slow = nanos(end.duration) > self.0.slow_above.load(Relaxed)
            && end.outcome != Outcome::Upgraded
            && !exchange.is_event_stream();
        if !(failed || is_slow || self.0.has_viewers.load(Relaxed)) || exchange.is_skipped(Signal::Log) {
            return;
        }
        let is_activity = self.is_activity(exchange);
        if !(failed || is_slow || is_activity) {
            return;
        }
        let request = self.record(exchange, end);
        // A request never waits for another one that writes here.
        let Ok(mut lists) = self.0.lists.try_lock() else {
            self.0.missed.fetch_add(1, Relaxed);
            return;
        };
        let id = request.request_id.as_deref();
        let is_known = |other: &RequestRecord| id.is_some() && other.request_id.as_deref() == id;
        let known = (lists.slow.iter().any(is_known), lists.failed.front().is_some_and(is_known));
        if is_slow && !known.0 {
            let above = lists.slow(request.clone()).unwrap_or_else(|| nanos(FLOOR));
            self.0.slow_above.store(above, Relaxed);
        }
        if failed && !known.1 {
            push(&mut lists.failed, request.clone());
        }
        if is_activity {
            push(&mut lists.activity, request);
        }
        drop(lists);
        self.0.version.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
