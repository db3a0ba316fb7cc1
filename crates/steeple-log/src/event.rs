//! Lines as `tracing` events, for whatever subscriber there is.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    cell::{Cell, RefCell},
    error::Error,
    fmt,
    sync::LazyLock,
};

use steeple_core::{AttributeValue, Exchange, GrpcStatus, RecordedError, Text};
use steeple_scrub::{Scrubbed, Scrubber};
use tracing::Level;

use crate::encode::{
    self, Access, Field, Line, MAX_FIELDS, MAX_VALUE, Shown, UserAgent,
    escape::{clamp, visible},
};

/// The target of exchanges' own lines.
pub(crate) const ACCESS: &str = steeple_core::ACCESS_TARGET;

/// The target of [`log_event`]'s lines.
pub(crate) const EVENT: &str = "steeple::event";

/// The target of [`log_error`]'s lines.
pub(crate) const ERROR: &str = "steeple::error";

/// The field of [`log_error`]'s lines that has the backtrace.
pub(crate) const STACKTRACE: &str = "exception.stacktrace";

/// Longest backtrace that is scrubbed: more than is shown, so that a secret is found before it is cut.
const MAX_SCRUBBED: usize = 64 * 1024;

/// Whether the current subscriber wants exchanges' lines of this level.
pub(crate) fn wants_access(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::event_enabled!(target: ACCESS, Level::ERROR),
        Level::WARN => tracing::event_enabled!(target: ACCESS, Level::WARN),
        _ => tracing::event_enabled!(target: ACCESS, Level::INFO),
    }
}

thread_local! {
    static IS_WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the exchange's line that is on its way to the subscriber is in the outputs already.
pub(crate) fn is_written() -> bool {
    IS_WRITTEN.try_with(Cell::get).unwrap_or_default()
}

/// The same as [`access`], for a line that is in the outputs already.
pub(crate) fn written_access(line: &Access<'_>) {
    written(|| access(line));
}

/// Hands a line to the current subscriber that is in the outputs already.
pub(crate) fn written(hand_over: impl FnOnce()) {
    struct Reset;

    impl Drop for Reset {
        fn drop(&mut self) {
            let _ending = IS_WRITTEN.try_with(|is_written| is_written.set(false));
        }
    }

    let _ending = IS_WRITTEN.try_with(|is_written| is_written.set(true));
    // Also when a layer of the user's panics.
    let _reset = Reset;
    hand_over();
}

/// Hands an exchange's line to the current subscriber. Unknown fields are not recorded.
pub(crate) fn access(access: &Access<'_>) {
    macro_rules! at {
        ($level:expr) => {
            tracing::event!(
                target: ACCESS,
                $level,
                request_id = access.context.request_id.map(|id| id.as_str()),
                trace_id = access.context.trace.map(|trace| tracing::field::display(trace.trace_id())),
                span_id = access.context.trace.map(|trace| tracing::field::display(trace.span_id())),
                client_request_id = shown(access.client_request_id.as_ref()).as_deref(),
                "transaction.name" = &*name(access),
                "http.request.method" = access.method,
                "http.route" = text(access.context.route()).as_deref(),
                "url.path" = &*visible(access.path.as_deref().into()),
                "url.query" = shown(access.query.as_ref()).as_deref(),
                "http.response.status_code" = access.end.status.map(|status| status.as_u16()),
                "rpc.method" = shown(access.rpc_method.as_ref()).as_deref(),
                "rpc.response.status_code" = access.end.grpc_status.map(GrpcStatus::as_str),
                outcome = access.end.outcome.as_str(),
                duration_ms = millis(access.end.duration),
                response_head_ms = access.end.head_after.map(millis),
                "http.request.body.size" = access.end.request_body_bytes,
                "http.response.body.size" = access.end.response_body_bytes,
                "network.protocol.version" = access.version,
                "user_agent.original" = text(access.user_agent.as_ref().map(UserAgent::text)).as_deref(),
                "client.address" = access.address.as_ref().map(tracing::field::display),
                "user.id" = text(access.context.user()).as_deref(),
                "error.type" = access.end.error_class().map(tracing::field::display),
                "error.message" = shown(access.error.as_ref()).as_deref(),
                attributes = attributes(access).as_deref(),
                "{}", Message(access)
            )
        };
    }
    match access.level {
        Level::ERROR => at!(Level::ERROR),
        Level::WARN => at!(Level::WARN),
        _ => at!(Level::INFO),
    }
}

/// Hands the line of a job to the current subscriber.
pub(crate) fn job(
    exchange: &Exchange,
    level: Level,
    message: &str,
    outcome: &'static str,
    duration_ms: f64,
    error: Option<&Shown<'_>>,
) {
    let name = exchange.name().to_string();
    let (name, message) = (visible(SCRUBBER.text(&name)), visible(SCRUBBER.text(message)));
    let trace = exchange.trace();
    let attributes: Vec<_> = exchange.attributes();
    let attributes: Vec<_> =
        attributes.iter().map(|(key, value)| Field::of_attribute(&SCRUBBER, key.as_str(), value)).collect();
    let kind = exchange.error().map(|error| error.type_name());
    macro_rules! at {
        ($level:expr) => {
            tracing::event!(
                target: ACCESS,
                $level,
                request_id = exchange.get_request_id().map(|id| id.as_str()),
                trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
                span_id = trace.map(|trace| tracing::field::display(trace.span_id())),
                "transaction.name" = &*name,
                outcome,
                duration_ms,
                "error.type" = kind,
                "error.message" = shown(error).as_deref(),
                attributes = (!attributes.is_empty()).then(|| as_object(&attributes)).as_deref(),
                "{message}"
            )
        };
    }
    match level {
        Level::ERROR => at!(Level::ERROR),
        Level::WARN => at!(Level::WARN),
        _ => at!(Level::INFO),
    }
}

fn text(text: Option<Scrubbed<&str>>) -> Option<Cow<'_, str>> {
    text.map(|text| visible(text.into()))
}

fn shown<'s>(shown: Option<&'s Shown<'_>>) -> Option<Cow<'s, str>> {
    text(shown.map(Scrubbed::as_deref))
}

fn name(access: &Access<'_>) -> String {
    let (method, target) = access.context.name();
    let target = visible(target.into());
    method.map_or_else(|| target.to_string(), |method| format!("{method} {target}"))
}

#[expect(clippy::cast_precision_loss, reason = "exact for 285 years of microseconds")]
fn millis(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// A subscriber's fields are fixed at compile time: the exchange's attributes share one, as a JSON object.
fn attributes(access: &Access<'_>) -> Option<String> {
    if access.attributes.is_empty() {
        return None;
    }
    Some(as_object(&access.attributes))
}

fn as_object(fields: &[Field<'_>]) -> String {
    let mut out = Vec::new();
    encode::object(&mut out, fields);
    String::from_utf8(out).unwrap_or_default()
}

/// The message: `GET /users/{id} 200`.
struct Message<'a>(&'a Access<'a>);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.0))?;
        match (self.0.end.grpc_status, self.0.end.status) {
            (Some(status), _) => write!(f, " {status}")?,
            (None, Some(status)) => write!(f, " {}", status.as_str())?,
            (None, None) => (),
        }
        self.0.oddity().map_or(Ok(()), |oddity| write!(f, " {oddity}"))
    }
}

/// Writes an error with the whole chain of its sources, as an `error` line.
///
/// The line's `message` is the error's own message, `error.message` the chain (`could not save: disk full`),
/// `error.type` its type, or `dyn Error` where that is not known. Secrets are removed. The line has the ids of the current
/// exchange; to have the error on the exchange's own line as well, record it on the exchange:
/// [`Exchange::record_error`](steeple_core::Exchange::record_error).
///
/// # Examples
/// ```
/// # let error = std::io::Error::other("disk full");
/// steeple_log::log_error(&error);
/// ```
pub fn log_error<E: Error + ?Sized>(error: &E) {
    log_error_with(error, []);
}

/// Writes an error like [`log_error`], with fields of your own: `order.id`, `attempt`.
///
/// Fields are what they are for [`log_event`]. Both calls write the backtrace of the place where they are called as
/// `exception.stacktrace` (`error.stack_trace` in ECS) if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for one: scrubbed, cut to
/// 32 KB. Other subscribers get it as the field `exception.stacktrace`.
///
/// # Examples
/// ```
/// # let error = std::io::Error::other("disk full");
/// steeple_log::log_error_with(&error, [("order.id", 42_i64.into()), ("attempt", 3_i64.into())]);
/// ```
pub fn log_error_with<E, F>(error: &E, fields: F)
where
    E: Error + ?Sized,
    F: IntoIterator<Item = (&'static str, AttributeValue)>,
{
    if !tracing::event_enabled!(target: ERROR, Level::ERROR) {
        return;
    }
    let _fields = FieldsGuard::of(fields);
    let error = RecordedError::of(error);
    let (whole, message) = (error.to_string(), error.message());
    let (whole, message) = (SCRUBBER.text(&whole), SCRUBBER.text(message));
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let backtrace = backtrace.map(|text| Line::stacktrace(&SCRUBBER, clamp(&text, MAX_SCRUBBED)));
    let fields = has_fields_on_their_way().then_some(tracing::field::display(FieldsAsJson));
    tracing::event!(
        target: ERROR,
        Level::ERROR,
        "error.type" = error.type_name(),
        "error.message" = &*visible(whole),
        "exception.stacktrace" = backtrace.as_ref().map(|text| &***text),
        fields,
        "{}", visible(message)
    );
}

/// For other subscribers. Steeple's own scrubs with the scrubber that it was given.
static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);

type EventFields = Vec<(Text, AttributeValue)>;

thread_local! {
    /// The fields of a business event on their way through `tracing`, whose own fields are fixed at compile time.
    static FIELDS: RefCell<Option<EventFields>> = const { RefCell::new(None) };
}

/// Puts fields on their way, and takes them back when the event is through, or unwinds.
struct FieldsGuard(Option<EventFields>);

impl FieldsGuard {
    fn set(fields: EventFields) -> Self {
        Self(FIELDS.try_with(|slot| slot.replace(Some(fields))).ok().flatten())
    }

    fn of(fields: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Self {
        Self::set(fields.into_iter().take(MAX_FIELDS).map(|(key, value)| (Text::from_static(key), value)).collect())
    }
}

impl Drop for FieldsGuard {
    fn drop(&mut self) {
        let _ending = FIELDS.try_with(|slot| slot.replace(self.0.take()));
    }
}

/// The fields of the business event that is on its way through this thread, scrubbed. `None`: no business event.
pub(crate) fn fields_on_their_way(scrubber: &Scrubber) -> Option<Vec<Field<'static>>> {
    FIELDS
        .try_with(|slot| {
            let fields = slot.borrow();
            let fields = fields.as_ref()?.iter();
            Some(fields.map(|(key, value)| Field::of_attribute(scrubber, key.as_str(), value)).collect())
        })
        .ok()
        .flatten()
}

/// Whether the event that is on its way through this thread has fields.
fn has_fields_on_their_way() -> bool {
    FIELDS.try_with(|slot| slot.borrow().as_ref().is_some_and(|fields| !fields.is_empty())).unwrap_or_default()
}

/// The same for other subscribers: one field, a JSON object.
struct FieldsAsJson;

impl fmt::Display for FieldsAsJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&as_object(&fields_on_their_way(&SCRUBBER).unwrap_or_default()))
    }
}

/// Writes a business event, such as an order or an upgrade, as an `info` line.
///
/// The line's `event.name` and `message` are the name; each field is a field of the line (`labels.…` in ECS). Secrets are
/// removed. At most 64 fields, keys of at most 128 bytes, texts of at most 1,024.
///
/// # Examples
/// ```
/// steeple_log::log_event("order.placed", [("plan", "pro".into()), ("seats", 5_i64.into())]);
/// ```
pub fn log_event<F>(name: &str, fields: F)
where
    F: IntoIterator<Item = (&'static str, AttributeValue)>,
{
    if !tracing::event_enabled!(target: EVENT, Level::INFO) {
        return;
    }
    let _fields = FieldsGuard::of(fields);
    let name = visible(SCRUBBER.text(clamp(name, MAX_VALUE)));
    tracing::event!(
        target: EVENT,
        Level::INFO,
        "event.name" = &*name,
        fields = %FieldsAsJson,
        "{name}"
    );
}
