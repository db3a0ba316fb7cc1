use std::{
    cell::RefCell,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use steeple_core::{Exchange, RequestId, Text, TraceContext, User, clock};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{Class, Consent, Event, Visitor, stats::Rejected};

/// The most bytes of JSON that the properties of one event may have.
pub const MAX_PROPERTIES_BYTES: usize = 32 * 1024;

/// The most properties of one event that sinks see; more are cut off, in the order in which they were written.
pub const MAX_PROPERTIES: usize = 100;

/// The most bytes of a property's name, and of its text.
pub const MAX_KEY_BYTES: usize = 255;
/// The most bytes of a property's text.
pub const MAX_TEXT_BYTES: usize = 4096;

/// One event as it was tracked. Its id and its time are final: every try to deliver it has the same ones.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: RequestId,
    /// Since the Unix epoch.
    pub(crate) at: Duration,
    pub(crate) names: Names,
    pub(crate) class: Class,
    pub(crate) context: Context,
    pub(crate) kind: Kind,
    /// The row that it was read from, at one sink.
    #[cfg(feature = "outbox")]
    pub(crate) hold: Option<steeple_export::store::spool::Hold>,
    /// What makes a row of it.
    #[cfg(feature = "outbox")]
    pub(crate) storing: Option<Arc<crate::hold::Storing>>,
    /// A JSON object, as the application wrote it. No sink sees it before it has been scrubbed.
    raw: Box<[u8]>,
    /// What of it may leave. Made by the first sink that needs it.
    content: OnceLock<Arc<Content>>,
}

/// What of an event has been scrubbed.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) properties: Map<String, Value>,
    pub(crate) user: Option<String>,
}

/// What an event is called in each system.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    Fixed {
        name: &'static str,
        new_relic: &'static str,
        ga4: &'static str,
        mixpanel: &'static str,
    },
    /// A name that was made while the program runs: the same one everywhere.
    Dynamic(Arc<str>),
    /// As they were when the event was stored.
    #[cfg_attr(not(feature = "outbox"), expect(dead_code, reason = "made by the store alone"))]
    Stored {
        name: Arc<str>,
        new_relic: Arc<str>,
        ga4: Arc<str>,
        mixpanel: Arc<str>,
    },
}

/// What a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    /// Something that a user did.
    #[default]
    Event,
    /// The properties of a user.
    PersonSet,
    /// A user is to be forgotten.
    PersonDelete,
}

impl Kind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
    pub(crate) fn is_event(&self) -> bool {
        *self == Self::Event
    }
}

impl Names {
    pub(crate) const fn of<E: Event>() -> Self {
        Self::Fixed { name: E::NAME, new_relic: E::NEW_RELIC, ga4: E::GA4, mixpanel: E::MIXPANEL }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Fixed { name, .. } => name,
            Self::Dynamic(name) | Self::Stored { name, .. } => name,
        }
    }

    pub(crate) fn new_relic(&self) -> &str {
        match self {
            Self::Fixed { new_relic, .. } => new_relic,
            Self::Dynamic(new_relic) | Self::Stored { new_relic, .. } => new_relic,
        }
    }

    pub(crate) fn ga4(&self) -> &str {
        match self {
            Self::Fixed { ga4, .. } => ga4,
            Self::Dynamic(ga4) | Self::Stored { ga4, .. } => ga4,
        }
    }

    pub(crate) fn mixpanel(&self) -> &str {
        match self {
            Self::Fixed { mixpanel, .. } => mixpanel,
            Self::Dynamic(mixpanel) | Self::Stored { mixpanel, .. } => mixpanel,
        }
    }
}

/// The facts about the request that caused the event.
#[derive(Clone, Default)]
pub(crate) struct Context {
    pub(crate) request_id: Option<RequestId>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) route: Option<Text>,
    /// What the privacy policy lets sinks see.
    pub(crate) user: Option<User>,
    pub(crate) visitor: Option<Arc<Visitor>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl Context {
    /// That of the exchange that is being served; nothing outside of one.
    pub(crate) fn current() -> Self {
        Exchange::current().map_or_else(Self::default, |exchange| Self::of(&exchange))
    }

    pub(crate) fn of(exchange: &Exchange) -> Self {
        Self {
            request_id: exchange.get_request_id().copied(),
            trace: exchange.trace().copied(),
            route: exchange.route().cloned(),
            user: exchange.visible_user(),
            visitor: exchange.get::<Arc<Visitor>>(),
        }
    }
}

/// An event that was tracked, on its way to a sink. A cheap clone.
///
/// It shows nothing: what a sink may see is an [`Outgoing`], which [`scrub`](Self::scrub) makes.
#[derive(Clone, Debug)]
pub struct Tracked(pub(crate) Arc<Record>);

impl Tracked {
    /// How many bytes of memory it takes, about. For [`Protocol::size`](steeple_export::Protocol::size).
    pub fn size(&self) -> usize {
        // A stored event has its properties as values, which take more room than their text.
        let content = self.0.content.get().filter(|_| self.0.raw.is_empty()).map_or(0, |content| {
            content.properties.iter().map(|(key, value)| key.len().saturating_add(weight(value))).sum()
        });
        size_of::<Record>().saturating_add(self.0.raw.len()).saturating_add(content)
    }

    /// What of it may leave. The properties are scrubbed once for all sinks.
    pub fn scrub(self, scrubber: &Scrubber) -> Scrubbed<Outgoing> {
        let content = Arc::clone(self.0.content.get_or_init(|| Arc::new(Content::of(&self.0, scrubber))));
        scrubber.scrub_with(Outgoing { record: self.0, content }, |_, _| ())
    }
}

/// An event as a sink gets it: scrubbed and bounded, with the id and the time that each try has.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(crate) record: Arc<Record>,
    content: Arc<Content>,
}

impl Outgoing {
    /// What identifies the event in every system: a `UUIDv7`.
    pub fn id(&self) -> &str {
        self.record.id.as_str()
    }

    /// The name in Steeple: `sign_up`.
    pub fn name(&self) -> &str {
        self.record.names.name()
    }

    /// The event type in New Relic.
    pub fn new_relic_name(&self) -> &str {
        self.record.names.new_relic()
    }

    /// The name in GA4.
    pub fn ga4_name(&self) -> &str {
        self.record.names.ga4()
    }

    /// The name in Mixpanel.
    pub fn mixpanel_name(&self) -> &str {
        self.record.names.mixpanel()
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.record.class
    }

    /// When it was tracked, since the Unix epoch.
    pub fn time(&self) -> Duration {
        self.record.at
    }

    /// When it was tracked, in milliseconds since the Unix epoch.
    pub fn unix_millis(&self) -> u64 {
        u64::try_from(self.record.at.as_millis()).unwrap_or(u64::MAX)
    }

    /// The properties: at most [`MAX_PROPERTIES`], names of at most [`MAX_KEY_BYTES`] bytes, texts of at most
    /// [`MAX_TEXT_BYTES`].
    pub fn properties(&self) -> &Map<String, Value> {
        &self.content.properties
    }

    /// The user's id, as far as the privacy policy lets sinks see it. `None` where it holds a secret or an e-mail address.
    pub fn user(&self) -> Option<&str> {
        self.content.user.as_deref()
    }

    /// The route template of the request that caused it.
    pub fn route(&self) -> Option<&str> {
        self.record.context.route.as_ref().map(Text::as_str)
    }

    /// The id of the request that caused it.
    pub fn request_id(&self) -> Option<&str> {
        self.record.context.request_id.as_ref().map(RequestId::as_str)
    }

    /// The trace and the span that caused it.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.record.context.trace.as_ref()
    }

    #[cfg(feature = "mixpanel")]
    pub(crate) fn kind(&self) -> Kind {
        self.record.kind
    }

    /// Whether it may go to analytics systems.
    pub fn consent(&self) -> Consent {
        self.visitor().map_or_else(Consent::default, |visitor| visitor.consent)
    }

    /// What identifies the visitor to Google Analytics, where the visitor did not refuse.
    pub fn visitor(&self) -> Option<&Visitor> {
        self.record.context.visitor.as_deref()
    }
}

impl Content {
    pub(crate) fn of(record: &Record, scrubber: &Scrubber) -> Self {
        let mut value = serde_json::from_slice(&record.raw).unwrap_or_default();
        scrubber.json(&mut value);
        let properties = match value {
            Value::Object(properties) => bounded(properties),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        };
        // A user id that holds a secret identifies the wrong thing.
        let user = record.context.user.as_ref().and_then(User::id).map(|id| scrubber.text(id));
        let user = user.filter(Scrubbed::is_clean).map(|id| cut(id.to_string(), MAX_KEY_BYTES));
        Self { properties, user }
    }
}

/// What a stored event consists of.
#[cfg(feature = "outbox")]
pub(crate) struct Restored {
    pub(crate) id: RequestId,
    pub(crate) at: Duration,
    pub(crate) names: Names,
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) context: Context,
    pub(crate) properties: Map<String, Value>,
    pub(crate) user: Option<String>,
}

thread_local! {
    /// Where properties are written before their length is known.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Record {
    #[cfg(test)]
    pub(crate) fn new<P: Serialize + ?Sized>(
        names: Names,
        class: Class,
        properties: &P,
        context: Context,
    ) -> Result<Arc<Self>, Rejected> {
        Ok(Arc::new(Self::begin(names, class, properties, context)?))
    }

    /// # Errors
    /// When the properties cannot be written as JSON or take too much room.
    pub(crate) fn begin<P: Serialize + ?Sized>(
        names: Names,
        class: Class,
        properties: &P,
        context: Context,
    ) -> Result<Self, Rejected> {
        let raw = write(properties)?;
        let at = clock::unix_at(clock::now());
        Ok(Self {
            id: RequestId::new(),
            at,
            names,
            class,
            context,
            kind: Kind::Event,
            #[cfg(feature = "outbox")]
            hold: None,
            #[cfg(feature = "outbox")]
            storing: None,
            raw,
            content: OnceLock::new(),
        })
    }

    /// One that was stored, with what of it was scrubbed then.
    #[cfg(feature = "outbox")]
    pub(crate) fn restored(stored: Restored) -> Self {
        let Restored { id, at, names, kind, class, context, properties, user } = stored;
        let content = OnceLock::from(Arc::new(Content { properties, user }));
        Self { id, at, names, class, context, kind, hold: None, storing: None, raw: Box::default(), content }
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    64_usize.saturating_add(match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len().saturating_add(weight(value))).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    })
}

fn bounded(properties: Map<String, Value>) -> Map<String, Value> {
    let bounded = |(key, value): (String, Value)| (cut(key, MAX_KEY_BYTES), bounded_value(value));
    properties.into_iter().take(MAX_PROPERTIES).map(bounded).collect()
}

fn bounded_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text, MAX_TEXT_BYTES)),
        Value::Array(items) => items.into_iter().take(MAX_PROPERTIES).map(bounded_value).collect(),
        Value::Object(fields) => Value::Object(bounded(fields)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(steeple_core::text::cut(&text, max).len());
    }
    text
}

/// Writes properties into a buffer that is used again, so that the copy has the right length.
fn write<P: Serialize + ?Sized>(properties: &P) -> Result<Box<[u8]>, Rejected> {
    let write = |out: &mut Vec<u8>| {
        out.clear();
        let written = serde_json::to_writer(Capped(out), properties);
        match written {
            Ok(()) if out.first() == Some(&b'{') => Ok(out.as_slice().into()),
            // An event without fields.
            Ok(()) if out == b"null" => Ok(Box::from(&b"{}"[..])),
            Err(error) if error.is_io() => Err(Rejected::TooLarge),
            Ok(()) | Err(_) => Err(Rejected::NotAnObject),
        }
    };
    // A `Serialize` that tracks an event itself finds the buffer taken.
    BUFFER
        .try_with(|buffer| buffer.try_borrow_mut().map(|mut buffer| write(&mut buffer)))
        .ok()
        .and_then(Result::ok)
        .unwrap_or_else(|| write(&mut Vec::new()))
}

/// Refuses to grow beyond what an event may have.
struct Capped<'a>(&'a mut Vec<u8>);

impl io::Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_PROPERTIES_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(properties: &Value, user: Option<&str>) -> Result<Arc<Record>, Rejected> {
        let context = Context { user: user.map(User::new), ..Context::default() };
        Record::new(Names::Dynamic("tested".into()), Class::Product, properties, context)
    }

    #[test]
    fn properties_are_scrubbed_and_cut() {
        let record = record(&json!({"password": "hunter2", "plan": "pro", "long": "x".repeat(5_000)}), None).unwrap();
        let outgoing = Tracked(record).scrub(&Scrubber::default());
        let properties = outgoing.properties();
        assert!(!properties["password"].as_str().unwrap().contains("hunter2"));
        assert_eq!(properties["plan"], "pro");
        assert_eq!(properties["long"].as_str().unwrap().len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn a_user_id_that_is_an_email_address_does_not_leave() {
        let scrubber = Scrubber::default();
        let user = |id| Tracked(record(&json!({}), Some(id)).unwrap()).scrub(&scrubber).user().map(str::to_owned);
        assert_eq!(user("u-42").as_deref(), Some("u-42"));
        assert_eq!(user("ada@example.org"), None);
    }

    #[test]
    fn properties_are_an_object_of_bounded_size() {
        assert_eq!(&*record(&Value::Null, None).unwrap().raw, b"{}");
        assert_eq!(record(&json!([1]), None).unwrap_err(), Rejected::NotAnObject);
        assert_eq!(record(&json!({"a": "x".repeat(MAX_PROPERTIES_BYTES)}), None).unwrap_err(), Rejected::TooLarge);
    }
}
