mod attribute;
mod body;
mod current;
mod error;
mod grpc;
mod ids;
mod name;
mod pool;
mod routes;
mod skip;
mod snapshot;
mod user;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, Version, request};

pub(crate) use self::current::swap_current;
pub use self::{
    attribute::{AttributeValue, MAX_ATTRIBUTES},
    current::{Capture, Carrier, Carry, EnteredCarrier, Scoped, carry_with},
    error::RecordedError,
    skip::Signal,
    snapshot::Snapshot,
};
use self::{body::UNKNOWN_LENGTH, name::NO_ROUTE_ID, routes::Routes, user::Known};
use crate::{
    Identity, RequestId, Text, TraceContext, User, VisibleAddress, clock,
    grpc::Kind,
    name::{known_method, rpc_from_path},
};

/// One request and its response, from the request head to the last byte of the response body.
///
/// A cheap clone; all clones are the same exchange. It is in the request's extensions, and
/// [`Exchange::current`] finds it while the service is being polled. A handler sets what it knows (a name, a user,
/// an error, attributes), and every observer sees that. Values set after the end are ignored.
///
/// # Examples
/// ```
/// use steeple_core::{Exchange, User};
///
/// let exchange = Exchange::detached();
/// exchange.set_user(User::new("u-42"));
/// exchange.set_name("nightly import");
/// assert_eq!(exchange.name().to_string(), "nightly import");
/// ```
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    started: Instant,
    method: &'static str,
    version: Version,
    grpc: Option<Kind>,
    rpc: Option<Arc<str>>,
    rpc_unknown: AtomicBool,
    ended: AtomicBool,
    event_stream: AtomicBool,
    skipped: AtomicU8,
    /// Whether a layer has it to end.
    claimed: AtomicBool,
    counts_request_body: AtomicBool,
    request_body_bytes: AtomicU64,
    request_messages: AtomicU64,
    /// Nanoseconds that are not the service's.
    waited: AtomicU64,
    watched_by: [AtomicUsize; MAX_IDENTITIES],
    request_id: OnceLock<RequestId>,
    trace: OnceLock<TraceContext>,
    privacy: OnceLock<Arc<dyn crate::Privacy>>,
    rule: OnceLock<Text>,
    routes: Routes,
    /// [`NO_ROUTE_ID`] until it is first asked for.
    route_id: AtomicU32,
    /// Which of the notes there are: most exchanges have none, and then the lock is not taken to read them.
    noted: AtomicU8,
    notes: Mutex<Notes>,
}

/// State that changes during the exchange.
#[derive(Default)]
struct Notes {
    custom: Option<Text>,
    user: Option<Arc<Known<User, User>>>,
    address: Option<Known<IpAddr, VisibleAddress>>,
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    client_request_id: Option<Box<str>>,
    grpc_message: Option<Box<str>>,
    errors: Vec<Arc<RecordedError>>,
    attributes: attribute::Attributes,
    extensions: http::Extensions,
}

/// A kind of [`Notes`], a bit each.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Note {
    Custom = 1,
    User = 2,
    Address = 4,
    Rare = 8,
}

/// With more observers than this on one exchange, an inner layer no longer detects that it is a second one.
const MAX_IDENTITIES: usize = 8;

/// The target of the log lines of exchanges: for filters of whatever subscriber writes them.
#[doc(alias = "access log")]
pub const ACCESS_TARGET: &str = "steeple::access";

/// The attribute that [`Exchange::set_name_in`] sets.
pub const TRANSACTION_CATEGORY: &str = "transaction.category";

impl Exchange {
    /// An exchange that no layer watches: for work outside of a request, and for tests.
    pub fn detached() -> Self {
        let exchange = Self::new("_OTHER", Version::default(), None, None, None);
        exchange.set_claimed();
        exchange
    }

    /// The exchange of a request, and whether it begins here: the one that a layer outside has begun and that has not ended, or a
    /// new one, which goes into the extensions. The first layer that watches it [claims](Self::claim) it.
    #[inline]
    pub(crate) fn of_request(request: &mut request::Parts) -> (Self, bool) {
        let mut route = matched_route(request);
        let request::Parts { method, uri, version, headers, extensions, .. } = request;
        let mut is_new = false;
        let begin = |route: Option<Text>| {
            // Every gRPC call is a POST; asking that first spares the others a look into their headers.
            let grpc = if *method == Method::POST { Kind::of(headers) } else { None };
            let (rpc, route) = match grpc {
                Some(_) => (rpc_from_path(uri.path()).map(Arc::from), None),
                None => (None, route),
            };
            Self::new(known_method(method), *version, grpc, rpc, route)
        };
        let exchange = extensions.get_or_insert_with(|| {
            is_new = true;
            begin(route.take())
        });
        if !is_new && exchange.has_ended() {
            is_new = true;
            *exchange = begin(route.take());
        }
        if let Some(route) = route {
            exchange.report_route(route);
        }
        (exchange.clone(), is_new)
    }

    #[inline]
    fn new(
        method: &'static str,
        version: Version,
        grpc: Option<Kind>,
        rpc: Option<Arc<str>>,
        route: Option<Text>,
    ) -> Self {
        Self(pool::take(|inner| {
            inner.started = clock::now();
            inner.method = method;
            inner.version = version;
            inner.grpc = grpc;
            inner.rpc = rpc;
            inner.routes.begin(route);
        }))
    }

    /// Ends this handle. If it is the last one, what it pointed to serves another exchange.
    pub(crate) fn recycle(self) {
        pool::give_back(self.0);
    }

    /// When the request head arrived.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.0.started)
    }

    /// Adds a wait that is not the service's: a response that was ready is held back until something is
    /// stored. Latency histograms leave it out; [`End::duration`](crate::End::duration) has it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let exchange = steeple_core::Exchange::detached();
    /// exchange.add_wait(Duration::from_millis(20));
    /// exchange.add_wait(Duration::from_millis(5));
    /// assert_eq!(exchange.waited(), Duration::from_millis(25));
    /// ```
    pub fn add_wait(&self, wait: Duration) {
        self.0.waited.fetch_add(clock::nanos(wait), Ordering::Relaxed);
    }

    /// The waits that were [added](Self::add_wait).
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.0.waited.load(Ordering::Relaxed))
    }

    /// The request's method, `_OTHER` for those that no standard knows.
    pub fn method(&self) -> &'static str {
        self.0.method
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The version as OpenTelemetry writes it: `1.0`, `1.1`, `2`, `3`.
    pub fn version_str(&self) -> &'static str {
        match self.0.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        }
    }

    /// Whether a layer observes it, or has. A server that asks after the answer learns whether the layer saw the request. A
    /// [detached](Self::detached) exchange returns `true`.
    pub fn is_observed(&self) -> bool {
        self.0.claimed.load(Ordering::Relaxed)
    }

    /// Takes the right to end it. Returns `false` when a layer has it already, or the exchange is detached.
    pub(crate) fn claim(&self) -> bool {
        !self.0.claimed.swap(true, Ordering::Relaxed)
    }

    /// The same for an exchange that nothing else refers to yet.
    pub(crate) fn set_claimed(&self) {
        self.0.claimed.store(true, Ordering::Relaxed);
    }

    /// Whether the end has come.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Whether both are the same exchange.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn set_ended(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Whether no observer of this identity watches yet; it is taken as watching from now on.
    pub(crate) fn admit(&self, identity: Identity) -> bool {
        for slot in &self.0.watched_by {
            // Most are taken, and to look costs much less than to try.
            let found = match slot.load(Ordering::Relaxed) {
                0 => match slot.compare_exchange(0, identity.get(), Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(other) => other,
                },
                other => other,
            };
            if found == identity.get() {
                return false;
            }
        }
        true
    }

    /// The notes, to write one of this kind down.
    fn note(&self, kind: Note) -> MutexGuard<'_, Notes> {
        self.0.noted.fetch_or(kind as u8, Ordering::Relaxed);
        self.notes()
    }

    /// The notes, if there may be one of this kind.
    #[inline]
    fn noted(&self, kind: Note) -> Option<MutexGuard<'_, Notes>> {
        (self.0.noted.load(Ordering::Relaxed) & kind as u8 != 0).then(|| self.notes())
    }

    /// The notes, if there may be any.
    fn any_notes(&self) -> Option<MutexGuard<'_, Notes>> {
        (self.0.noted.load(Ordering::Relaxed) != 0).then(|| self.notes())
    }

    fn rare<T>(&self, read: impl FnOnce(&Rare) -> T) -> Option<T> {
        self.noted(Note::Rare)?.rare.as_deref().map(read)
    }

    /// A panic of user code cannot happen while this is held: nothing in here calls any.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("name", &format_args!("{}", self.name()))
            .field("request_id", &self.get_request_id())
            .field("ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

/// The route that the router has matched before the request gets here.
#[cfg_attr(not(feature = "axum"), expect(unused_variables, reason = "only Axum has it in the request"))]
fn matched_route(request: &request::Parts) -> Option<Text> {
    #[cfg(feature = "axum")]
    return Text::of_matched_route(&request.extensions);
    #[cfg(not(feature = "axum"))]
    None
}

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<Exchange>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NameSource;

    #[test]
    fn values_set_after_the_end_are_ignored() {
        let exchange = Exchange::detached();
        exchange.set_ended();
        exchange.set_name("late");
        exchange.set_user(User::new("late"));
        exchange.record_error(&std::fmt::Error);
        exchange.set_attribute("late", true);
        assert_eq!(exchange.name().source(), NameSource::Unmatched);
        assert!(exchange.user().is_none() && exchange.error().is_none() && exchange.attributes().is_empty());
    }

    #[test]
    fn an_observer_is_admitted_once() {
        let exchange = Exchange::detached();
        let (one, two) = (1_u8, 2_u8);
        assert!(exchange.admit(Identity::of(&one)));
        assert!(exchange.admit(Identity::of(&two)));
        assert!(!exchange.admit(Identity::of(&one)));
    }
}
