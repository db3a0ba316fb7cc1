//! The content of an event: what failed, in which exchange, for whom.

use std::{borrow::Cow, sync::Arc, time::Duration};

use sentry_core::{
    Level,
    protocol::{
        Breadcrumb, Context, Event, Exception, IpAddress, Map, ResponseContext, SpanId, SpanStatus, TraceContext,
        TraceId, User, Value,
    },
};
use steeple_core::{
    AttributeValue, End, ErrorClass, Exchange, GrpcStatus, JobKind, Operation, Outcome, RecordedError, Signal,
    VisibleAddress,
};
use steeple_scrub::Scrubber;

use crate::{
    context,
    head::Head,
    panicked::{Panicked, mechanism},
};

/// The context that holds what Sentry has no field for.
pub(crate) const EXCHANGE: &str = "exchange";
/// Where the transaction's name came from, in that context.
pub(crate) const NAME_SOURCE: &str = "name_source";

/// What failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Panic(Box<Panicked>),
    /// The first is the cause, the others followed.
    Errors(Vec<Arc<RecordedError>>),
    /// Without a recorded error.
    Class(ErrorClass),
}

/// What an end means for Sentry.
#[derive(Debug)]
pub(crate) enum Finding {
    /// Nothing failed on our side.
    Well,
    /// Something failed that the team expects.
    Expected,
    Failed(Failure),
}

/// Whether there is a reason to look closer: without one, [`find`] returns that all went well, unless there was a panic.
pub(crate) fn may_have_failed(exchange: &Exchange, end: &End) -> bool {
    end.error_class().is_some() || exchange.error().is_some()
}

/// Decides whether an exchange failed, and how.
pub(crate) fn find(
    settings: &context::Context,
    exchange: &Exchange,
    end: &End,
    panic: Option<Box<Panicked>>,
) -> Finding {
    if settings.skips(exchange, Signal::Errors) {
        return Finding::Expected;
    }
    let mut errors = exchange.errors();
    let noticed = errors.len();
    errors.retain(|error| !settings.expects_error(error));
    let all_expected = noticed > 0 && errors.is_empty();
    let is_panic = end.outcome == Outcome::Panicked;
    let (failed, expected) = match end.outcome {
        Outcome::Panicked => (true, false),
        Outcome::ServiceError | Outcome::BodyError => (true, all_expected),
        Outcome::Cancelled | Outcome::CancelledInBody => (!errors.is_empty(), false),
        Outcome::Completed | Outcome::Upgraded => {
            answered(settings, end, !errors.is_empty() || panic.is_some(), all_expected)
        }
    };
    if !failed {
        return Finding::Well;
    }
    if expected {
        return Finding::Expected;
    }
    if let Some(panic) = panic {
        return Finding::Failed(Failure::Panic(panic));
    }
    // Core's hook notices a panic's message; it is what failed, whatever was noticed before.
    if is_panic && let Some(place) = errors.iter().rposition(|error| error.type_name() == "panic") {
        errors.swap(0, place);
    }
    Finding::Failed(match (errors.is_empty(), end.error_class()) {
        (true, Some(class)) => Failure::Class(class),
        (true, None) => return Finding::Well,
        (false, _) => Failure::Errors(errors),
    })
}

/// Whether an exchange that was answered failed, and whether that was expected.
fn answered(settings: &context::Context, end: &End, noticed: bool, all_expected: bool) -> (bool, bool) {
    if let Some(status) = end.grpc_status {
        return match status {
            GrpcStatus::OK => (noticed, false),
            // A client can make up methods; those are not events.
            _ if end.is_unknown_method() => (noticed, false),
            status if end.is_server_error() => (true, all_expected || settings.expected_grpc.contains(&status)),
            // The caller's doing, like 4xx.
            _ => (false, false),
        };
    }
    match end.status {
        Some(status) if status.is_server_error() => {
            (true, all_expected || settings.expected_statuses.contains(&status))
        }
        Some(status) if status.is_client_error() => (false, false),
        Some(_) | None => (noticed, false),
    }
}

/// Makes the event of a failure, with the breadcrumbs of what was seen of it before. What is true of every event of its exchange is
/// filled in on its way.
pub(crate) fn of_failure(
    failure: Failure,
    exchange: &Exchange,
    end: &End,
    seen: impl Iterator<Item = Breadcrumb>,
) -> Event<'static> {
    let mut event = Event { level: Level::Error, ..Event::default() };
    let kind;
    match failure {
        Failure::Panic(panic) => {
            kind =
                panic.location.clone().map_or(Cow::Borrowed("panic"), |place| Cow::Owned(format!("panic at {place}")));
            event.level = Level::Fatal;
            event.exception = vec![panic.into_exception()].into();
        }
        Failure::Errors(errors) => {
            let mut errors = errors.into_iter();
            let Some(first) = errors.next() else { return event };
            kind = Cow::Borrowed(first.type_name());
            let unwound = end.outcome == Outcome::Panicked;
            if unwound {
                event.level = Level::Fatal;
            }
            event.exception = exceptions(&first, !unwound).into();
            event.breadcrumbs.extend(errors.map(|error| Breadcrumb {
                category: Some("error".to_owned()),
                level: Level::Error,
                message: Some(error.to_string()),
                ..Breadcrumb::default()
            }));
        }
        Failure::Class(class) => {
            kind = Cow::Owned(class.to_string());
            event.exception = vec![Exception {
                ty: class_type(class),
                value: Some(class_text(class, exchange)),
                mechanism: Some(mechanism("steeple", end.outcome != Outcome::Panicked)),
                ..Exception::default()
            }]
            .into();
        }
    }
    // The same error in two routes is two issues; the same one with another id in its message is not.
    event.fingerprint = Cow::Owned(vec![Cow::Owned(exchange.name().to_string()), kind]);
    event.breadcrumbs.extend(seen);
    event
}

/// What is known at the end and not before.
pub(crate) fn fill_end(event: &mut Event<'static>, end: &End) {
    if let Some(status) = end.status {
        let response = ResponseContext { status_code: Some(status.as_u16().into()), ..ResponseContext::default() };
        event.contexts.entry("response".to_owned()).or_insert(Context::Response(Box::new(response)));
        event.tags.entry("http.response.status_code".to_owned()).or_insert_with(|| status.as_str().to_owned());
    }
    if let Some(status) = end.grpc_status {
        event.tags.entry("rpc.response.status_code".to_owned()).or_insert_with(|| status.as_str().to_owned());
    }
    event.tags.entry("outcome".to_owned()).or_insert_with(|| end.outcome.as_str().to_owned());
}

/// What is known of an exchange.
pub(crate) struct About<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) head: &'a Head,
    /// The trace that its scope makes up by itself.
    pub(crate) own_trace: TraceId,
    /// How long it has lasted.
    pub(crate) elapsed: Duration,
}

/// Fills in what is true of every event of an exchange, where it does not say otherwise.
///
/// `true`: the user on it is what the privacy policy left.
pub(crate) fn fill(event: &mut Event<'static>, about: &About<'_>, settings: &context::Context) -> bool {
    let About { exchange, head, own_trace, elapsed } = *about;
    let name = exchange.name();
    if event.transaction.is_none() {
        event.transaction = Some(name.to_string());
    }
    event.contexts.insert(EXCHANGE.to_owned(), exchange_context(exchange, elapsed));
    let claimed = match event.contexts.get("trace") {
        Some(Context::Trace(trace)) => trace.trace_id != own_trace,
        Some(_) | None => false,
    };
    if !claimed {
        event.contexts.insert("trace".to_owned(), trace_context(&head.trace(exchange), operation(exchange)).into());
    }
    if event.request.is_none() {
        event.request = head.to_request(exchange.method(), &settings.headers);
    }
    for (key, value) in exchange.attributes() {
        if settings.tags.iter().any(|tag| **tag == *key.as_str()) {
            event.tags.entry(key.as_str().to_owned()).or_insert_with(|| tag(&value, &settings.scrubber));
        } else {
            event.extra.entry(key.as_str().to_owned()).or_insert_with(|| json(value));
        }
    }
    if let ([default], Some(last)) = (&*event.fingerprint, event.exception.values.last())
        && matches!(&**default, "{{ default }}" | "{{default}}")
    {
        event.fingerprint = Cow::Owned(vec![Cow::Owned(name.to_string()), Cow::Owned(last.ty.clone())]);
    }
    if event.user.is_some() {
        return false;
    }
    event.user = visible_user(exchange, settings);
    event.user.is_some()
}

/// The user, and the address where the team asked for it, as the privacy policy leaves them.
pub(crate) fn visible_user(exchange: &Exchange, settings: &context::Context) -> Option<User> {
    let user = exchange.visible_user();
    let address = if settings.client_address { exchange.visible_client_address() } else { None };
    if user.is_none() && address.is_none() {
        return None;
    }
    let text = |text: Option<&str>| text.map(str::to_owned);
    let user = user.unwrap_or_default();
    let mut out =
        User { id: text(user.id()), email: text(user.email()), username: text(user.name()), ..User::default() };
    match address {
        Some(VisibleAddress::Ip(ip)) => out.ip_address = Some(IpAddress::Exact(ip)),
        Some(VisibleAddress::Pseudonym(pseudonym)) => {
            out.other.insert("address".to_owned(), Value::from(&*pseudonym));
        }
        None => {}
    }
    Some(out)
}

pub(crate) fn exchange_context(exchange: &Exchange, elapsed: Duration) -> Context {
    let mut exchange_map = Map::new();
    exchange_map.insert(NAME_SOURCE.to_owned(), exchange.name().source().as_str().into());
    if let Some(id) = exchange.get_request_id() {
        exchange_map.insert("request_id".to_owned(), id.as_str().into());
    }
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    exchange_map.insert("elapsed_ms".to_owned(), millis.into());
    Context::Other(exchange_map)
}

/// What kind of work it is, in Sentry's words.
pub(crate) fn operation(exchange: &Exchange) -> &'static str {
    if let Some(Operation(operation)) = exchange.get() {
        return operation;
    }
    match exchange.get::<JobKind>() {
        None => "http.server",
        Some(JobKind::Consumer) => "queue.process",
        Some(_) => "job",
    }
}

fn trace_context(trace: &steeple_core::TraceContext, operation: &'static str) -> TraceContext {
    TraceContext {
        trace_id: TraceId::from(trace.trace_id().to_bytes()),
        span_id: SpanId::from(trace.span_id().to_bytes()),
        parent_span_id: trace.parent_id().map(|id| SpanId::from(id.to_bytes())),
        op: Some(operation.to_owned()),
        ..TraceContext::default()
    }
}

/// The attributes of an exchange that are tags.
pub(crate) fn tags(exchange: &Exchange, settings: &context::Context) -> Vec<(String, String)> {
    if settings.tags.is_empty() {
        return Vec::new();
    }
    let is_tag = |key: &str| settings.tags.iter().any(|tag| **tag == *key);
    let attributes = exchange.attributes().into_iter().filter(|(key, _)| is_tag(key.as_str()));
    attributes.map(|(key, value)| (key.as_str().to_owned(), tag(&value, &settings.scrubber))).collect()
}

/// Most characters of a tag's value that Sentry keeps.
const MAX_TAG: usize = 200;

/// A tag's value. It is scrubbed before it is cut, so that half of a secret is found as well.
fn tag(value: &AttributeValue, scrubber: &Scrubber) -> String {
    match value {
        AttributeValue::Text(text) => {
            let shown = scrubber.text(text.as_str());
            // Sentry takes no line breaks.
            shown.chars().take(MAX_TAG).map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
        AttributeValue::Int(number) => number.to_string(),
        AttributeValue::Float(number) => number.to_string(),
        AttributeValue::Bool(truth) => truth.to_string(),
    }
}

fn json(value: AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => Value::from(text.as_str()),
        AttributeValue::Int(number) => Value::from(number),
        AttributeValue::Float(number) => Value::from(number),
        AttributeValue::Bool(truth) => Value::from(truth),
    }
}

/// An error and its sources, the innermost first.
fn exceptions(error: &RecordedError, handled: bool) -> Vec<Exception> {
    let (module, ty) = split_type(error.type_name());
    let mut exceptions: Vec<_> = error
        .chain()
        .enumerate()
        .map(|(depth, message)| Exception {
            ty: if depth == 0 { ty.to_owned() } else { "Error".to_owned() },
            module: if depth == 0 { module.map(str::to_owned) } else { None },
            value: Some(message.to_owned()),
            mechanism: (depth == 0).then(|| mechanism("steeple", handled)),
            ..Exception::default()
        })
        .collect();
    exceptions.reverse();
    exceptions
}

/// `sqlx::error::Error` is `Error` of the module `sqlx::error`.
fn split_type(name: &str) -> (Option<&str>, &str) {
    let plain = name.split('<').next().unwrap_or(name).trim_start_matches('&');
    if plain.starts_with("dyn ") {
        return (None, "Error");
    }
    match plain.rsplit_once("::") {
        Some((module, ty)) => (Some(module), ty),
        None => (None, plain),
    }
}

fn class_type(class: ErrorClass) -> String {
    match class {
        ErrorClass::Outcome(Outcome::Panicked) => "panic".to_owned(),
        ErrorClass::Outcome(outcome) => outcome.as_str().to_owned(),
        ErrorClass::Grpc(status) => format!("gRPC {}", status.as_str()),
        ErrorClass::Status(status) => format!("HTTP {}", status.as_str()),
    }
}

fn class_text(class: ErrorClass, exchange: &Exchange) -> String {
    match class {
        ErrorClass::Outcome(outcome) => format!("{} ended as {outcome}", exchange.name()),
        ErrorClass::Grpc(status) => format!("{} answered {}", exchange.name(), status.as_str()),
        ErrorClass::Status(status) => format!("{} answered {status}", exchange.name()),
    }
}

/// A log line as a step that led to the failure.
pub(crate) fn as_breadcrumb(event: &Event<'_>) -> Breadcrumb {
    let said = event.message.clone().or_else(|| event.logentry.as_ref().map(|entry| entry.message.clone()));
    let exception = || event.exception.values.last().and_then(|exception| exception.value.clone());
    Breadcrumb {
        timestamp: event.timestamp,
        ty: "log".to_owned(),
        category: event.logger.clone(),
        level: event.level,
        message: said.or_else(exception),
        ..Breadcrumb::default()
    }
}

/// The status of a transaction.
pub(crate) fn span_status(end: &End) -> SpanStatus {
    if end.outcome.is_cancelled() {
        return SpanStatus::Cancelled;
    }
    if end.outcome.is_failure() {
        return SpanStatus::InternalError;
    }
    if let Some(status) = end.grpc_status {
        return grpc_span_status(status);
    }
    match end.status_code() {
        400 | 402 | 405..=408 | 410..=428 | 430..=498 => SpanStatus::InvalidArgument,
        401 => SpanStatus::Unauthenticated,
        403 => SpanStatus::PermissionDenied,
        404 => SpanStatus::NotFound,
        409 => SpanStatus::AlreadyExists,
        429 => SpanStatus::ResourceExhausted,
        499 => SpanStatus::Cancelled,
        501 => SpanStatus::Unimplemented,
        503 => SpanStatus::Unavailable,
        504 => SpanStatus::DeadlineExceeded,
        500..=599 => SpanStatus::InternalError,
        _ => SpanStatus::Ok,
    }
}

fn grpc_span_status(status: GrpcStatus) -> SpanStatus {
    match status.code() {
        0 => SpanStatus::Ok,
        1 => SpanStatus::Cancelled,
        3 => SpanStatus::InvalidArgument,
        4 => SpanStatus::DeadlineExceeded,
        5 => SpanStatus::NotFound,
        6 => SpanStatus::AlreadyExists,
        7 => SpanStatus::PermissionDenied,
        8 => SpanStatus::ResourceExhausted,
        9 => SpanStatus::FailedPrecondition,
        10 => SpanStatus::Aborted,
        11 => SpanStatus::OutOfRange,
        12 => SpanStatus::Unimplemented,
        13 => SpanStatus::InternalError,
        14 => SpanStatus::Unavailable,
        15 => SpanStatus::DataLoss,
        16 => SpanStatus::Unauthenticated,
        _ => SpanStatus::UnknownError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_shown_by_its_last_name_and_its_module() {
        assert_eq!(split_type("sqlx::error::Error"), (Some("sqlx::error"), "Error"));
        assert_eq!(split_type("app::Failed<alloc::string::String>"), (Some("app"), "Failed"));
        assert_eq!(split_type("dyn core::error::Error + core::marker::Send"), (None, "Error"));
        assert_eq!(split_type("panic"), (None, "panic"));
    }

    #[test]
    fn the_chain_begins_at_its_root_and_ends_with_the_error() {
        let error = RecordedError::of(&std::io::Error::other(std::io::Error::other("disk full")));
        let told = exceptions(&error, true);
        assert_eq!(told.last().unwrap().ty, "Error");
        assert_eq!(told.last().unwrap().mechanism.as_ref().unwrap().handled, Some(true));
        assert!(told.iter().rev().skip(1).all(|source| source.mechanism.is_none()));
    }
}
