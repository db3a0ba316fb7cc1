mod attribute;
mod current;
mod error;
mod pool;
mod routes;
mod snapshot;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Version, request};

pub(crate) use self::current::swap_current;
use self::routes::Routes;
pub use self::{
    attribute::{AttributeValue, MAX_ATTRIBUTES},
    current::{Capture, Carry, Scoped, carry_with},
    error::RecordedError,
    snapshot::Snapshot,
};
use crate::{
    GrpcStatus, Identity, NameSource, Privacy, RequestId, Text, TraceContext, TransactionName, User, VisibleAddress,
    clock,
    grpc::Kind,
    name::{known_method, rpc_from_path},
    route::RouteId,
    user::truncate_address,
};

/// One request and its response, from the request head to the last byte of the response body.
///
/// A cheap clone; all clones are the same exchange. It is in the request's extensions, and
/// [`Exchange::current`] finds it while the service is being polled. A handler tells it what it knows (a name, a user,
/// an error, attributes), and every observer sees that. What is told after the end is ignored.
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
    watched_by: [AtomicUsize; MAX_IDENTITIES],
    request_id: OnceLock<RequestId>,
    trace: OnceLock<TraceContext>,
    privacy: OnceLock<Arc<dyn Privacy>>,
    rule: OnceLock<Text>,
    routes: Routes,
    /// [`NO_ROUTE_ID`] until somebody asks.
    route_id: AtomicU32,
    /// Which of the notes there are: most exchanges have none, and then nobody takes the lock to read them.
    noted: AtomicU8,
    notes: Mutex<Notes>,
}

/// What is learned on the way, and may change on it.
#[derive(Default)]
struct Notes {
    custom: Option<Text>,
    user: Option<Arc<Known<User, User>>>,
    address: Option<Known<IpAddr, VisibleAddress>>,
    rare: Option<Box<Rare>>,
}

/// What the application knows, and what sinks may see of it.
struct Known<R, V> {
    raw: R,
    visible: Option<V>,
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

/// Above every number of a route.
const NO_ROUTE_ID: u32 = u32::MAX;

/// The length of a request body that declares none and that nobody counts.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// More observers than this on one exchange, and an inner layer can no longer tell that it is a second one.
const MAX_IDENTITIES: usize = 8;

/// A client's id that was not taken is kept up to this length.
const MAX_CLIENT_REQUEST_ID: usize = 128;

/// Errors kept of one exchange; the first ones tell more than the last.
const MAX_ERRORS: usize = 8;

/// The target of the log lines of exchanges: for filters of whatever subscriber writes them.
#[doc(alias = "access log")]
pub const ACCESS_TARGET: &str = "steeple::access";

/// A kind of record, which [`Exchange::skip`] leaves an exchange out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Signal {
    /// The log line.
    Log = 1,
    /// Counters and histograms. The in-flight gauge stays exact.
    Metrics = 2,
    /// Spans.
    Traces = 4,
    /// Captured errors.
    Errors = 8,
}

impl Exchange {
    /// An exchange of its own that nobody watches: for work outside of a request, and for tests.
    pub fn detached() -> Self {
        let exchange = Self::new("_OTHER", Version::default(), None, None, None);
        exchange.set_claimed();
        exchange
    }

    /// The exchange of a request that has just arrived. The first layer that watches it [claims](Self::claim) it.
    pub(crate) fn arrived(request: &request::Parts) -> Self {
        // Every gRPC call is a POST; asking that first spares the others a look into their headers.
        let grpc = if request.method == Method::POST { Kind::of(&request.headers) } else { None };
        let (rpc, route) = if grpc.is_some() {
            (rpc_from_path(request.uri.path()).map(Arc::from), None)
        } else {
            (None, matched_route(request))
        };
        Self::new(known_method(&request.method), request.version, grpc, rpc, route)
    }

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
            inner.routes = Routes::new(route);
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

    /// Whether this is a gRPC call, gRPC-Web included: its content type says so.
    pub fn is_grpc(&self) -> bool {
        self.0.grpc.is_some()
    }

    pub(crate) fn grpc_kind(&self) -> Option<Kind> {
        self.0.grpc
    }

    /// The message of the gRPC status, decoded, at most 1,024 bytes. `None` before the end, and when there is none.
    ///
    /// As the service wrote it: sinks scrub it. Of a status that counts as the server's error it is also the last of the
    /// [`errors`](Self::errors).
    pub fn grpc_message(&self) -> Option<Box<str>> {
        self.rare(|rare| rare.grpc_message.clone()).flatten()
    }

    pub(crate) fn set_grpc_message(&self, status: GrpcStatus, message: Box<str>) {
        if self.has_ended() {
            return;
        }
        if status.is_server_error() {
            self.record(RecordedError::from_message(status.as_str(), &message));
        }
        self.note(Note::Rare).rare.get_or_insert_default().grpc_message = Some(message);
    }

    /// Messages of a gRPC request that the service has read whole so far. `None` where they are not counted.
    pub fn request_messages(&self) -> Option<u64> {
        let counts = self.is_grpc() && self.0.counts_request_body.load(Ordering::Relaxed);
        counts.then(|| self.0.request_messages.load(Ordering::Relaxed))
    }

    pub(crate) fn set_request_messages(&self, messages: u64) {
        self.0.request_messages.store(messages, Ordering::Relaxed);
    }

    /// The gRPC service and method, `pkg.Service/Method`: `_OTHER` when it has no such shape or the service did not
    /// know it. `None` when this is no gRPC call.
    pub fn rpc_method(&self) -> Option<&str> {
        self.0.grpc.map(|_| match &self.0.rpc {
            Some(rpc) if !self.0.rpc_unknown.load(Ordering::Relaxed) => rpc,
            _ => "_OTHER",
        })
    }

    /// Folds the gRPC method into `_OTHER`: the service does not know it.
    pub fn fold_rpc_method(&self) {
        self.0.rpc_unknown.store(true, Ordering::Relaxed);
    }

    /// The request's id. Made at the first call, if nothing has set it before.
    pub fn request_id(&self) -> &RequestId {
        self.0.request_id.get_or_init(|| RequestId::of_moment(clock::unix_at(self.0.started)))
    }

    /// The request's id, if it has one.
    pub fn get_request_id(&self) -> Option<&RequestId> {
        self.0.request_id.get()
    }

    /// Sets the request's id. Returns `false` when it has one already, which then stays.
    pub fn set_request_id(&self, id: RequestId) -> bool {
        self.0.request_id.set(id).is_ok()
    }

    /// The id that the client sent and that was not taken: at most 128 characters, not checked otherwise.
    pub fn client_request_id(&self) -> Option<Box<str>> {
        self.rare(|rare| rare.client_request_id.clone()).flatten()
    }

    pub(crate) fn set_client_request_id(&self, value: &HeaderValue) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let end = text.char_indices().nth(MAX_CLIENT_REQUEST_ID).map_or(text.len(), |(place, _)| place);
        let kept = text.get(..end).unwrap_or_default().into();
        self.note(Note::Rare).rare.get_or_insert_default().client_request_id = Some(kept);
    }

    /// The trace that this exchange belongs to, if anything has looked for one.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.trace.get()
    }

    /// Sets the trace. Returns `false` when there is one already, which then stays.
    pub fn set_trace(&self, trace: TraceContext) -> bool {
        self.0.trace.set(trace).is_ok()
    }

    /// The trace; if there is none yet, the caller's continued from its `traceparent`, else a new one.
    pub fn trace_or_continue(&self, headers: &HeaderMap) -> &TraceContext {
        self.0.trace.get_or_init(|| TraceContext::from_headers(headers).unwrap_or_else(TraceContext::new_root))
    }

    /// The template of the route that matched: `/users/{id}`. `None` when no router has told.
    #[inline]
    pub fn route(&self) -> Option<&Text> {
        self.0.routes.get()
    }

    /// The number of the route, learned once: for what is kept per route, see [`Routes`](crate::Routes). `None` when no
    /// router has told, or there are too many routes.
    #[inline]
    pub fn route_id(&self) -> Option<RouteId> {
        let known = self.0.route_id.load(Ordering::Relaxed);
        if let Ok(index) = u16::try_from(known) {
            return Some(RouteId::from_index(index));
        }
        let id = RouteId::of(self.route()?)?;
        self.0.route_id.store(id.to_index().into(), Ordering::Relaxed);
        Some(id)
    }

    /// Tells the template of the route that matched, as routers and layers inside of them do.
    ///
    /// The first one stays, so that an error page routed again does not rename the request; but a template that ends
    /// in a catch-all (`/admin/{*rest}`) gives way to a more precise one from further in. A gRPC call has none: what a
    /// router has for it is a catch-all of its service, and its method says more.
    pub fn report_route(&self, template: impl Into<Text>) {
        if !self.has_ended() && self.0.grpc.is_none() {
            self.0.routes.report(template.into());
            self.0.route_id.store(NO_ROUTE_ID, Ordering::Relaxed);
        }
    }

    /// The name that a rule gave.
    #[inline]
    pub fn rule_name(&self) -> Option<&Text> {
        self.0.rule.get()
    }

    /// Names the exchange after a rule that matched its path. The first one stays.
    pub fn set_rule_name(&self, name: impl Into<Text>) {
        if !self.has_ended() && self.0.rule.get().is_none() {
            let _first = self.0.rule.set(name.into());
        }
    }

    /// Names the exchange. The last name before the end stays.
    ///
    /// Bounded in number is the caller's promise: use a handful of names, never an id.
    pub fn set_name(&self, name: impl Into<Text>) {
        if !self.has_ended() {
            self.note(Note::Custom).custom = Some(name.into());
        }
    }

    /// What the exchange is called: what the handler said, else a rule's name, else the gRPC method, else the route's
    /// template, else `METHOD unmatched`.
    pub fn name(&self) -> TransactionName {
        self.name_from(self.noted(Note::Custom).and_then(|notes| notes.custom.clone()))
    }

    fn name_from(&self, custom: Option<Text>) -> TransactionName {
        if let Some(name) = custom {
            TransactionName::new(None, name, NameSource::Custom)
        } else if let Some(name) = self.rule_name() {
            TransactionName::new(Some(self.0.method), name.clone(), NameSource::Rule)
        } else if self.0.grpc.is_some() {
            let name = match &self.0.rpc {
                Some(rpc) if !self.0.rpc_unknown.load(Ordering::Relaxed) => Arc::clone(rpc).into(),
                _ => Text::from_static("_OTHER"),
            };
            TransactionName::new(None, name, NameSource::Rpc)
        } else if let Some(route) = self.route() {
            TransactionName::new(Some(self.0.method), route.clone(), NameSource::Route)
        } else {
            TransactionName::new(Some(self.0.method), Text::from_static("unmatched"), NameSource::Unmatched)
        }
    }

    /// Says who is behind the exchange. May be called at any time before the end; the last one stays.
    pub fn set_user(&self, user: User) {
        let visible = match self.0.privacy.get() {
            Some(privacy) => privacy.user(&user),
            None => Some(user.only_id()),
        };
        let known = Known { raw: user, visible: visible.filter(|user| !user.is_empty()) };
        if !self.has_ended() {
            self.note(Note::User).user = Some(Arc::new(known));
        }
    }

    /// The user as the application knows them. For the application: sinks ask for [`visible_user`](Self::visible_user).
    pub fn user(&self) -> Option<User> {
        self.noted(Note::User)?.user.as_ref().map(|known| known.raw.clone())
    }

    /// What sinks may see of the user.
    pub fn visible_user(&self) -> Option<User> {
        self.noted(Note::User)?.user.as_ref().and_then(|known| known.visible.clone())
    }

    /// Says where the client is: the address behind trusted proxies, not what a header claims.
    pub fn set_client_address(&self, address: IpAddr) {
        let visible = match self.0.privacy.get() {
            Some(privacy) => privacy.address(address),
            None => Some(VisibleAddress::Ip(truncate_address(address))),
        };
        if !self.has_ended() {
            self.note(Note::Address).address = Some(Known { raw: address, visible });
        }
    }

    /// The client's address. For the application: sinks ask for
    /// [`visible_client_address`](Self::visible_client_address).
    pub fn client_address(&self) -> Option<IpAddr> {
        self.noted(Note::Address)?.address.as_ref().map(|known| known.raw)
    }

    /// What sinks may see of the client's address.
    pub fn visible_client_address(&self) -> Option<VisibleAddress> {
        self.noted(Note::Address)?.address.as_ref().and_then(|known| known.visible.clone())
    }

    /// Decides what sinks may see of the user and the address that are set from now on. The first decision stays.
    pub fn set_privacy(&self, privacy: Arc<dyn Privacy>) -> bool {
        self.0.privacy.set(privacy).is_ok()
    }

    /// Records an error with the chain of its sources. The first 8 errors of an exchange are kept.
    ///
    /// An error that a handler turns into a 5xx response is lost unless it is recorded. Recording it twice counts once.
    #[doc(alias = "notice_error")]
    #[doc(alias = "capture_error")]
    #[doc(alias = "capture_exception")]
    pub fn record_error<E: std::error::Error + ?Sized>(&self, error: &E) {
        self.record(RecordedError::of(error));
    }

    /// Records an error that was made into a [`RecordedError`] before, such as one carried in a response's extensions.
    pub fn record(&self, error: RecordedError) {
        if self.has_ended() {
            return;
        }
        let mut notes = self.note(Note::Rare);
        let errors = &mut notes.rare.get_or_insert_default().errors;
        let known = errors.iter().any(|other| other.is_same(&error));
        if !known && errors.len() < MAX_ERRORS {
            errors.push(Arc::new(error));
        }
    }

    /// The first error that was noticed: what the others followed from.
    pub fn error(&self) -> Option<Arc<RecordedError>> {
        self.rare(|rare| rare.errors.first().cloned()).flatten()
    }

    /// The errors that were noticed, first to last.
    pub fn errors(&self) -> Vec<Arc<RecordedError>> {
        self.rare(|rare| rare.errors.clone()).unwrap_or_default()
    }

    /// Sets an attribute, for log line, span and event alike. The last value stays.
    ///
    /// At most [`MAX_ATTRIBUTES`] per exchange, keys cut to 128 bytes and values to 1,024; more are counted, see
    /// [`attributes_dropped`](Self::attributes_dropped). Sinks scrub keys and values.
    #[doc(alias = "tag")]
    #[doc(alias = "label")]
    #[doc(alias = "field")]
    pub fn set_attribute(&self, key: impl Into<Text>, value: impl Into<AttributeValue>) {
        let (key, value) = (key.into(), value.into());
        if !self.has_ended() {
            self.note(Note::Rare).rare.get_or_insert_default().attributes.set(key, value);
        }
    }

    /// The attributes, in the order in which they were first set.
    pub fn attributes(&self) -> Vec<(Text, AttributeValue)> {
        self.rare(|rare| rare.attributes.to_vec()).unwrap_or_default()
    }

    /// How many attributes found no room.
    pub fn attributes_dropped(&self) -> u32 {
        self.rare(|rare| rare.attributes.dropped()).unwrap_or_default()
    }

    /// Puts a value of any type beside the exchange, one of each type: for observers that work together.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.note(Note::Rare).rare.get_or_insert_default().extensions.insert(value)
    }

    /// Replaces the values beside the exchange.
    pub(crate) fn set_extensions(&self, extensions: http::Extensions) {
        self.note(Note::Rare).rare.get_or_insert_default().extensions = extensions;
    }

    /// A value that was put beside the exchange.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.rare(|rare| rare.extensions.get().cloned()).flatten()
    }

    /// Leaves this exchange out of one kind of record. The in-flight gauge stays exact, but for event streams, which leave it
    /// with their response head.
    #[doc(alias = "ignore")]
    #[doc(alias = "healthcheck")]
    pub fn skip(&self, signal: Signal) {
        self.0.skipped.fetch_or(signal as u8, Ordering::Relaxed);
    }

    /// Whether the exchange is left out of this kind of record.
    pub fn is_skipped(&self, signal: Signal) -> bool {
        self.0.skipped.load(Ordering::Relaxed) & signal as u8 != 0
    }

    /// Whether the response is a stream of server-sent events without an end of its own: how long it lasts says nothing
    /// of how fast the service is. Known from [`Observer::on_response`](crate::Observer::on_response) on.
    pub fn is_event_stream(&self) -> bool {
        self.0.event_stream.load(Ordering::Relaxed)
    }

    pub(crate) fn set_event_stream(&self) {
        self.0.event_stream.store(true, Ordering::Relaxed);
    }

    /// Takes the right to end it. Returns `false` when a layer has it already, or nobody is to have it.
    pub(crate) fn claim(&self) -> bool {
        !self.0.claimed.swap(true, Ordering::Relaxed)
    }

    /// The same for one that nobody else can know yet.
    pub(crate) fn set_claimed(&self) {
        self.0.claimed.store(true, Ordering::Relaxed);
    }

    /// Bytes of the request body: as many as it declares, or as the service has read so far where they are
    /// [counted](crate::CountRequestBodyLayer). `None` for a body of undeclared length that is not counted.
    pub fn request_body_bytes(&self) -> Option<u64> {
        Some(self.0.request_body_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN_LENGTH)
    }

    /// Begins to count. Returns `false` when somebody counts already.
    pub(crate) fn count_request_body(&self) -> bool {
        let first = !self.0.counts_request_body.swap(true, Ordering::Relaxed);
        if first {
            self.0.request_body_bytes.store(0, Ordering::Relaxed);
        }
        first
    }

    /// The length that the request declares, which stands where nobody counts.
    #[inline]
    pub(crate) fn declare_request_body(&self, length: Option<u64>) {
        if let Some(bytes) = length
            && !self.0.counts_request_body.load(Ordering::Relaxed)
        {
            self.0.request_body_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_request_body_bytes(&self, bytes: u64) {
        self.0.request_body_bytes.fetch_add(bytes, Ordering::Relaxed);
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
            match slot.compare_exchange(0, identity.get(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) if other == identity.get() => return false,
                Err(_) => (),
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

/// What a router has told by the time that the request gets here.
#[cfg_attr(not(feature = "axum"), expect(unused_variables, reason = "only Axum tells"))]
fn matched_route(request: &request::Parts) -> Option<Text> {
    #[cfg(feature = "axum")]
    return request.extensions.get::<axum::extract::MatchedPath>().cloned().map(Text::from);
    #[cfg(not(feature = "axum"))]
    None
}

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<Exchange>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handlers_name_beats_a_rule_and_a_rule_beats_the_route() {
        let exchange = Exchange::new("GET", Version::HTTP_11, None, None, None);
        assert_eq!(exchange.name().to_string(), "GET unmatched");
        exchange.report_route("/a/{b}");
        assert_eq!(exchange.name().to_string(), "GET /a/{b}");
        exchange.set_rule_name("/a/*");
        assert_eq!(exchange.name().to_string(), "GET /a/*");
        exchange.set_name("mine");
        assert_eq!((exchange.name().to_string(), exchange.name().source()), ("mine".to_owned(), NameSource::Custom));
    }

    #[test]
    fn the_first_route_stays_unless_it_is_a_catch_all() {
        let exchange = Exchange::detached();
        exchange.report_route("/admin/{*rest}");
        exchange.report_route("/admin/users/{id}");
        exchange.report_route("/error-page");
        assert_eq!(exchange.route().unwrap().as_str(), "/admin/users/{id}");
    }

    #[test]
    fn a_grpc_call_is_named_after_its_method_until_the_service_does_not_know_it() {
        let exchange = Exchange::new("POST", Version::HTTP_2, Some(Kind::Grpc), Some("pkg.S/M".into()), None);
        exchange.report_route("/pkg.S/{*rest}");
        assert_eq!(exchange.route(), None, "a catch-all of the service is no route of the call");
        assert_eq!(exchange.name().to_string(), "pkg.S/M");
        exchange.fold_rpc_method();
        assert_eq!((exchange.name().to_string().as_str(), exchange.rpc_method()), ("_OTHER", Some("_OTHER")));
    }

    #[test]
    fn sinks_see_the_id_alone_unless_a_policy_says_otherwise() {
        let exchange = Exchange::detached();
        exchange.set_user(User::new("u-1").with_email("ann@example.org"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        assert_eq!(exchange.visible_user(), Some(User::new("u-1")));
        assert_eq!(exchange.visible_client_address().unwrap().to_string(), "192.0.2.0");
        assert_eq!(exchange.user().unwrap().email(), Some("ann@example.org"));
    }

    #[test]
    fn what_is_told_after_the_end_is_ignored() {
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
