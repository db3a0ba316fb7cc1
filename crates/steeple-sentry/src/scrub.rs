//! Removes secrets from whatever Sentry's SDK is about to send.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use sentry_core::{
    Envelope, Transport, TransportFactory, TransportOptions,
    protocol::{
        Breadcrumb, Context, EnvelopeItem, Event, Exception, Frame, ItemContainer, Log, LogAttribute, Map, Metric,
        Request, Span, Stacktrace, Transaction, User, Value,
    },
};
use steeple_scrub::{HeaderVerdict, HideReason, Scrubbed, Scrubber};

/// A [`Scrubber`] in the places where Sentry's SDK asks for one: for teams that use `sentry-tower` or the SDK alone.
///
/// One line scrubs everything that a client sends, events with their breadcrumbs, transactions, logs and metrics: put
/// [`transport`](Self::transport) around the transport. The hooks see less: none of them sees transactions.
///
/// # Examples
/// ```
/// use sentry_core::ClientOptions;
/// use steeple_scrub::Scrubber;
/// use steeple_sentry::ScrubSentry;
///
/// # let inner = sentry_core::test::TestTransport::new();
/// // `inner` is the former transport: `sentry::transports::DefaultTransportFactory`.
/// let options = ClientOptions::new().transport(Scrubber::default().transport(inner));
/// # let _ = options;
/// ```
#[doc(alias = "redact")]
#[doc(alias = "mask")]
pub trait ScrubSentry {
    /// For `ClientOptions::before_send`: scrubs every field of an event, its breadcrumbs too. Transactions and logs do not go
    /// through it.
    fn before_send(&self) -> impl Fn(Event<'static>) -> Option<Event<'static>> + Send + Sync + 'static;

    /// For `ClientOptions::before_breadcrumb`.
    fn before_breadcrumb(&self) -> impl Fn(Breadcrumb) -> Option<Breadcrumb> + Send + Sync + 'static;

    /// For `ClientOptions::before_send_log`.
    fn before_send_log(&self) -> impl Fn(Log) -> Option<Log> + Send + Sync + 'static;

    /// For `ClientOptions::transport`: scrubs whatever goes through `inner`, transactions and their spans too.
    fn transport(&self, inner: impl TransportFactory + 'static) -> ScrubbingTransport;

    /// Scrubs one event in place.
    fn scrub_event(&self, event: &mut Event<'_>);

    /// Scrubs one transaction in place, its spans included.
    fn scrub_transaction(&self, transaction: &mut Transaction<'_>);
}

impl ScrubSentry for Scrubber {
    fn before_send(&self) -> impl Fn(Event<'static>) -> Option<Event<'static>> + Send + Sync + 'static {
        let scrubber = self.clone();
        move |mut one| {
            event(&scrubber, &[], &mut one);
            Some(one)
        }
    }

    fn before_breadcrumb(&self) -> impl Fn(Breadcrumb) -> Option<Breadcrumb> + Send + Sync + 'static {
        let scrubber = self.clone();
        move |mut one| {
            breadcrumb(&scrubber, &mut one);
            Some(one)
        }
    }

    fn before_send_log(&self) -> impl Fn(Log) -> Option<Log> + Send + Sync + 'static {
        let scrubber = self.clone();
        move |mut one| {
            log(&scrubber, &mut one);
            Some(one)
        }
    }

    fn transport(&self, inner: impl TransportFactory + 'static) -> ScrubbingTransport {
        ScrubbingTransport { scrubber: self.clone(), inner: Arc::new(inner) }
    }

    fn scrub_event(&self, one: &mut Event<'_>) {
        event(self, &[], one);
    }

    fn scrub_transaction(&self, one: &mut Transaction<'_>) {
        transaction(self, &[], one);
    }
}

/// Scrubs all that goes through another transport. Made by [`ScrubSentry::transport`].
///
/// An envelope of raw bytes cannot be looked into and is dropped; the SDK makes none by itself.
pub struct ScrubbingTransport {
    scrubber: Scrubber,
    inner: Arc<dyn TransportFactory>,
}

impl std::fmt::Debug for ScrubbingTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrubbingTransport").field("scrubber", &self.scrubber).finish_non_exhaustive()
    }
}

impl TransportFactory for ScrubbingTransport {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        Arc::new(Scrubbing {
            scrubber: self.scrubber.clone(),
            inner: self.inner.create_transport_with_options(options),
        })
    }
}

struct Scrubbing {
    scrubber: Scrubber,
    inner: Arc<dyn Transport>,
}

impl Transport for Scrubbing {
    fn send_envelope(&self, envelope: Envelope) {
        if envelope.items().next().is_some() {
            self.inner.send_envelope(self::envelope(&self.scrubber, envelope, item).into_inner());
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.inner.flush(timeout)
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        self.inner.shutdown(timeout)
    }
}

/// Takes an envelope apart, scrubs each of its items and puts them together again. Raw bytes are left out.
pub(crate) fn envelope(
    scrubber: &Scrubber,
    envelope: Envelope,
    mut scrub: impl FnMut(&Scrubber, &mut EnvelopeItem),
) -> Scrubbed<Envelope> {
    let empty = Envelope::new().with_headers(envelope.headers().clone());
    scrubber.scrub_with(empty, |scrubber, scrubbed| {
        for mut item in envelope.into_items() {
            scrub(scrubber, &mut item);
            scrubbed.add_item(item);
        }
    })
}

/// Scrubs any item that has text in it. Attachments are the team's own bytes and stay; so do counts.
pub(crate) fn item(scrubber: &Scrubber, item: &mut EnvelopeItem) {
    if let EnvelopeItem::Event(one) = item {
        event(scrubber, &[], one);
    } else if let EnvelopeItem::Transaction(one) = item {
        transaction(scrubber, &[], one);
    } else if let EnvelopeItem::ItemContainer(ItemContainer::Logs(logs)) = item {
        for one in logs {
            log(scrubber, one);
        }
    } else if let EnvelopeItem::ItemContainer(ItemContainer::Metrics(metrics)) = item {
        for one in metrics {
            metric(scrubber, one);
        }
    } else if let EnvelopeItem::SessionUpdate(session) = item {
        optional(scrubber, &mut session.distinct_id);
    }
}

pub(crate) fn metric(scrubber: &Scrubber, metric: &mut Metric) {
    for (key, LogAttribute(one)) in &mut metric.attributes {
        value(scrubber, key, one);
    }
}

/// The same for an event whose user the privacy policy has seen: the addresses that it left stay, and the scrubber has its say on the
/// rest, as on log lines and spans.
pub(crate) fn approved_event(scrubber: &Scrubber, allowed: &[HeaderName], one: &mut Event<'_>, user_is_approved: bool) {
    let approved = if user_is_approved { one.user.take() } else { None };
    event(scrubber, allowed, one);
    one.user = approved.map(|user| approved_user(scrubber, user)).or_else(|| one.user.take());
}

/// The same for a transaction.
pub(crate) fn approved_transaction(
    scrubber: &Scrubber,
    allowed: &[HeaderName],
    one: &mut Transaction<'_>,
    user_is_approved: bool,
) {
    let approved = if user_is_approved { one.user.take() } else { None };
    transaction(scrubber, allowed, one);
    one.user = approved.map(|user| approved_user(scrubber, user)).or_else(|| one.user.take());
}

fn approved_user(scrubber: &Scrubber, mut user: User) -> User {
    optional(scrubber, &mut user.id);
    optional(scrubber, &mut user.username);
    user
}

pub(crate) fn event(scrubber: &Scrubber, allowed: &[HeaderName], event: &mut Event<'_>) {
    optional(scrubber, &mut event.message);
    optional(scrubber, &mut event.transaction);
    optional(scrubber, &mut event.culprit);
    optional(scrubber, &mut event.logger);
    if let Some(entry) = &mut event.logentry {
        text(scrubber, &mut entry.message);
        entry.params.iter_mut().for_each(|param| json(scrubber, param));
    }
    if event.fingerprint.iter().any(|part| !scrubber.text(part).is_clean()) {
        let parts = event.fingerprint.iter().map(|part| Cow::Owned(scrubber.text(part).to_string()));
        event.fingerprint = Cow::Owned(parts.collect());
    }
    event.exception.values.iter_mut().for_each(|one| exception(scrubber, one));
    event.breadcrumbs.values.iter_mut().for_each(|one| breadcrumb(scrubber, one));
    for thread in &mut event.threads.values {
        optional(scrubber, &mut thread.name);
        stacktrace(scrubber, thread.stacktrace.as_mut());
        stacktrace(scrubber, thread.raw_stacktrace.as_mut());
    }
    stacktrace(scrubber, event.stacktrace.as_mut());
    if let Some(template) = &mut event.template {
        lines(scrubber, &mut template.context_line, &mut template.pre_context, &mut template.post_context);
    }
    event.request.iter_mut().for_each(|one| request(scrubber, allowed, one));
    event.user.iter_mut().for_each(|one| user(scrubber, one));
    strings(scrubber, &mut event.tags);
    values(scrubber, &mut event.extra);
    contexts(scrubber, allowed, &mut event.contexts);
}

pub(crate) fn transaction(scrubber: &Scrubber, allowed: &[HeaderName], transaction: &mut Transaction<'_>) {
    optional(scrubber, &mut transaction.name);
    transaction.request.iter_mut().for_each(|one| request(scrubber, allowed, one));
    transaction.user.iter_mut().for_each(|one| user(scrubber, one));
    strings(scrubber, &mut transaction.tags);
    values(scrubber, &mut transaction.extra);
    contexts(scrubber, allowed, &mut transaction.contexts);
    transaction.spans.iter_mut().for_each(|one| span(scrubber, one));
}

fn span(scrubber: &Scrubber, span: &mut Span) {
    optional(scrubber, &mut span.description);
    strings(scrubber, &mut span.tags);
    values(scrubber, &mut span.data);
}

fn log(scrubber: &Scrubber, log: &mut Log) {
    text(scrubber, &mut log.body);
    for (key, LogAttribute(one)) in &mut log.attributes {
        value(scrubber, key, one);
    }
}

fn breadcrumb(scrubber: &Scrubber, breadcrumb: &mut Breadcrumb) {
    optional(scrubber, &mut breadcrumb.message);
    optional(scrubber, &mut breadcrumb.category);
    values(scrubber, &mut breadcrumb.data);
}

fn exception(scrubber: &Scrubber, exception: &mut Exception) {
    text(scrubber, &mut exception.ty);
    optional(scrubber, &mut exception.value);
    optional(scrubber, &mut exception.module);
    stacktrace(scrubber, exception.stacktrace.as_mut());
    stacktrace(scrubber, exception.raw_stacktrace.as_mut());
    if let Some(mechanism) = &mut exception.mechanism {
        optional(scrubber, &mut mechanism.description);
        values(scrubber, &mut mechanism.data);
    }
}

fn stacktrace(scrubber: &Scrubber, stacktrace: Option<&mut Stacktrace>) {
    for frame in stacktrace.into_iter().flat_map(|stacktrace| &mut stacktrace.frames) {
        let Frame { vars, context_line, pre_context, post_context, .. } = frame;
        values(scrubber, vars);
        lines(scrubber, context_line, pre_context, post_context);
    }
}

fn lines(scrubber: &Scrubber, line: &mut Option<String>, before: &mut [String], after: &mut [String]) {
    optional(scrubber, line);
    before.iter_mut().chain(after).for_each(|line| text(scrubber, line));
}

fn request(scrubber: &Scrubber, allowed: &[HeaderName], request: &mut Request) {
    if let Some(url) = &mut request.url
        && let scrubbed = scrubber.url(url.as_str())
        && !scrubbed.is_clean()
    {
        // What is left of a URL is one; if ever it is not, better none than a secret.
        request.url = filter_pairs(&scrubbed).as_deref().unwrap_or(&scrubbed).parse().ok();
    }
    if let Some(query) = &mut request.query_string {
        replace_pairs(query, |query| scrubber.query(query));
    }
    if let Some(cookies) = &mut request.cookies {
        replace_pairs(cookies, |cookies| scrubber.cookies(cookies));
    }
    if let Some(data) = &mut request.data {
        body(scrubber, data);
    }
    request.headers.retain(|name, value| header(scrubber, allowed, name, value));
    request.env.retain(|name, value| {
        replace_value(value, |value| scrubber.field(name, value));
        !scrubber.is_denied_key(name)
    });
}

/// A body that is JSON is scrubbed as such, another as a form if it looks like one, else as text.
fn body(scrubber: &Scrubber, data: &mut String) {
    if let Ok(mut document) = serde_json::from_str::<Value>(data)
        && (document.is_object() || document.is_array())
    {
        let before = document.clone();
        json(scrubber, &mut document);
        if document != before {
            *data = document.to_string();
        }
        return;
    }
    replace(data, |data| scrubber.text(data));
    if data.contains('=') && !data.contains(char::is_whitespace) {
        replace_pairs(data, |data| scrubber.form(data));
    }
}

/// Whether a header stays. What is on the deny list goes with its name, so that no one looks for what was in it.
fn header(scrubber: &Scrubber, allowed: &[HeaderName], name: &str, value: &mut String) -> bool {
    let (Ok(name), Ok(bytes)) = (HeaderName::try_from(name), HeaderValue::try_from(value.as_str())) else {
        replace(value, |value| scrubber.text(value));
        return !scrubber.is_denied_key(name);
    };
    match scrubber.header(&name, &bytes) {
        HeaderVerdict::Shown(shown) if shown.is_clean() => {}
        HeaderVerdict::Shown(shown) => replace_pairs(value, |_| shown.into_owned().into()),
        // The team named it, and the deny list has nothing against it.
        HeaderVerdict::Hidden(HideReason::NotAllowed) if allowed.contains(&name) => {
            replace_value(value, |value| scrubber.field(name.as_str(), value));
        }
        HeaderVerdict::Hidden(_) => return false,
    }
    true
}

fn user(scrubber: &Scrubber, user: &mut User) {
    optional(scrubber, &mut user.id);
    optional(scrubber, &mut user.username);
    optional(scrubber, &mut user.email);
    values(scrubber, &mut user.other);
}

fn contexts(scrubber: &Scrubber, allowed: &[HeaderName], contexts: &mut Map<String, Context>) {
    for context in contexts.values_mut() {
        match context {
            Context::Other(map) => values(scrubber, map),
            Context::Trace(trace) => {
                optional(scrubber, &mut trace.description);
                values(scrubber, &mut trace.data);
            }
            Context::Response(response) => {
                if let Some(cookies) = &mut response.cookies {
                    replace_pairs(cookies, |cookies| scrubber.cookies(cookies));
                }
                response.headers.retain(|name, value| header(scrubber, allowed, name, value));
                if let Some(data) = &mut response.data {
                    json(scrubber, data);
                }
            }
            Context::Otel(otel) => {
                values(scrubber, &mut otel.attributes);
                values(scrubber, &mut otel.resource);
                values(scrubber, &mut otel.other);
            }
            Context::Device(device) => {
                optional(scrubber, &mut device.name);
                values(scrubber, &mut device.other);
            }
            Context::Os(os) => values(scrubber, &mut os.other),
            Context::Runtime(runtime) => values(scrubber, &mut runtime.other),
            Context::App(app) => values(scrubber, &mut app.other),
            Context::Browser(browser) => values(scrubber, &mut browser.other),
            Context::Gpu(gpu) => values(scrubber, &mut gpu.other),
            // A kind that a later SDK has: no one here knows where its text is.
            _ => *context = Context::Other(Map::new()),
        }
    }
}

/// Tags and the like. A name that is a secret itself is not one that was meant to be there.
fn strings(scrubber: &Scrubber, map: &mut Map<String, String>) {
    for (key, value) in map.iter_mut() {
        replace_value(value, |value| scrubber.field(key, value));
    }
    keys(scrubber, map);
}

fn values(scrubber: &Scrubber, map: &mut Map<String, Value>) {
    for (key, one) in map.iter_mut() {
        value(scrubber, key, one);
    }
    keys(scrubber, map);
}

fn keys<T>(scrubber: &Scrubber, map: &mut Map<String, T>) {
    let secret: Vec<_> = map.keys().filter(|key| !scrubber.text(key).is_clean()).cloned().collect();
    for key in secret {
        if let Some(value) = map.remove(&key) {
            map.insert(scrubber.text(&key).to_string(), value);
        }
    }
}

/// Names whose values are URLs, in breadcrumbs, spans and logs; the SDKs' own and OpenTelemetry's.
const URLS: [&str; 8] =
    ["url", "url.full", "url.path", "http.url", "http.target", "http.request.header.referer", "from", "to"];

/// Names whose values are queries.
const QUERIES: [&str; 3] = ["http.query", "query_string", "url.query"];

/// A value by its name and by its look, however deep.
fn value(scrubber: &Scrubber, key: &str, value: &mut Value) {
    if let Value::String(one) = value {
        if URLS.contains(&key) {
            replace_pairs(one, |one| scrubber.url(one));
        } else if QUERIES.contains(&key) {
            replace_pairs(one, |one| scrubber.query(one.strip_prefix('?').unwrap_or(one)));
        } else {
            replace_value(one, |one| scrubber.field(key, one));
        }
        return;
    }
    // As the only member of an object, the name counts for whatever is below it.
    let mut object = serde_json::Map::new();
    object.insert(key.to_owned(), value.take());
    let mut object = Value::Object(object);
    json(scrubber, &mut object);
    if let Value::Object(object) = object
        && let Some((_, scrubbed)) = object.into_iter().next()
    {
        *value = scrubbed;
    }
}

fn optional(scrubber: &Scrubber, value: &mut Option<String>) {
    if let Some(value) = value {
        text(scrubber, value);
    }
}

fn text(scrubber: &Scrubber, value: &mut String) {
    replace(value, |value| scrubber.text(value));
}

/// What Sentry calls a value that was removed. Its server takes everything else under a name such as `password` for a secret.
const FILTERED: &str = "[Filtered]";

/// A value that went whole has Sentry's word for it; in prose the marker stays and says why.
fn replace_value(value: &mut String, scrub: impl FnOnce(&str) -> Scrubbed<Cow<'_, str>>) {
    replace(value, scrub);
    if is_marker(value) {
        FILTERED.clone_into(value);
    }
}

/// The same for the values of `name=value` pairs: a query, a form, cookies, a URL.
fn replace_pairs(pairs: &mut String, scrub: impl FnOnce(&str) -> Scrubbed<Cow<'_, str>>) {
    replace(pairs, scrub);
    if let Some(filtered) = filter_pairs(pairs) {
        *pairs = filtered;
    }
}

fn filter_pairs(pairs: &str) -> Option<String> {
    const PAIR: &str = "=[redacted:";
    let mut rest = pairs;
    let mut out = None;
    while let Some((before, after)) = rest.split_once(PAIR) {
        let out = out.get_or_insert_with(String::new);
        out.push_str(before);
        match after.split_once(']') {
            Some((_, next)) if next.is_empty() || next.starts_with(['&', ';', '#']) => {
                out.push('=');
                out.push_str(FILTERED);
                rest = next;
            }
            _ => {
                out.push_str(PAIR);
                rest = after;
            }
        }
    }
    let mut out = out?;
    out.push_str(rest);
    Some(out)
}

fn is_marker(value: &str) -> bool {
    value
        .strip_prefix("[redacted:")
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|reason| !reason.contains(['[', ']', ' ']))
}

/// Scrubs a document, and says of each value that went whole what Sentry does. Without recursion, like the scrubber.
fn json(scrubber: &Scrubber, document: &mut Value) {
    scrubber.json(document);
    let mut open = vec![document];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if is_marker(text) => FILTERED.clone_into(text),
            Value::Array(values) => open.extend(values),
            Value::Object(map) => open.extend(map.values_mut()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Puts what `scrub` makes of a text in its place. Clean text is not copied.
fn replace(value: &mut String, scrub: impl FnOnce(&str) -> Scrubbed<Cow<'_, str>>) {
    let scrubbed = scrub(value);
    if !scrubbed.is_clean() {
        *value = scrubbed.to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &str, want: &str) {
        let mut pairs = pairs.to_owned();
        replace_pairs(&mut pairs, |pairs| Scrubbed::from_application(pairs).into());
        assert_eq!(pairs, want);
    }

    #[test]
    fn of_pairs_a_value_that_went_whole_has_sentrys_word() {
        check("a=1&token=[redacted:key]&b=2", "a=1&token=[Filtered]&b=2");
        check("a=1; sid=[redacted:cookie]", "a=1; sid=[Filtered]");
        check("q=[redacted:jwt] and more", "q=[redacted:jwt] and more");
        check("q=[redacted:", "q=[redacted:");
        check("plain=1", "plain=1");
    }

    #[test]
    fn below_a_denied_name_everything_goes_and_prose_keeps_its_marker() {
        let scrubber = Scrubber::default();
        let mut one =
            serde_json::json!({ "password": "hunter2", "note": "token=hunter2hunter2 was refused", "items": 3 });
        json(&scrubber, &mut one);
        assert_eq!(one["password"], FILTERED);
        assert_eq!(one["items"], 3);
        assert!(one["note"].as_str().is_some_and(|note| note.contains("[redacted:key]")), "{one}");
    }
}
