//! The calls that a handler makes, on whichever hub is current: its exchange's, while a request is served.

use sentry_core::{Breadcrumb, Hub, Level, Scope, protocol::Value, types::Uuid};
use steeple_core::{Exchange, Text, User};

/// Captures an error with the chain of its sources, now. The exchange that is current counts as reported: its own failure is not
/// another event.
///
/// To let the exchange decide at its end, with everything known by then: [`Exchange::record_error`].
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// let error = "seven".parse::<u8>().unwrap_err();
/// steeple_sentry::capture_error(&error);
/// # });
/// # assert_eq!(events[0].exception[0].value.as_deref(), Some("invalid digit found in string"));
/// ```
pub fn capture_error<E: std::error::Error + ?Sized>(error: &E) -> Uuid {
    sentry_core::capture_error(error)
}

/// Captures an error like [`capture_error`], with tags and extras that are on this one event alone.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// use steeple_sentry::ErrorContext;
///
/// let error = "seven".parse::<u8>().unwrap_err();
/// let context = ErrorContext::new().tag("plan", "pro").extra("input", "seven");
/// steeple_sentry::capture_error_with(&error, context);
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!((&*events[0].tags["plan"], &events[0].extra["input"]), ("pro", &"seven".into()));
/// # assert!(events[1].tags.get("plan").is_none() && events[1].extra.is_empty());
/// ```
pub fn capture_error_with<E: std::error::Error + ?Sized>(error: &E, context: ErrorContext) -> Uuid {
    sentry_core::with_scope(|scope| context.apply(scope), || sentry_core::capture_error(error))
}

/// What is on the event of one captured error. See [`capture_error_with`].
#[derive(Clone, Debug, Default)]
#[must_use = "a context does nothing until an error is captured with it"]
pub struct ErrorContext {
    tags: Vec<(String, String)>,
    extras: Vec<(String, Value)>,
    level: Option<Level>,
    fingerprint: Vec<String>,
}

impl ErrorContext {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tag: short, searchable, one of few values.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// An extra: anything that helps whoever reads the event.
    pub fn extra(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extras.push((key.into(), value.into()));
        self
    }

    /// The level. Default: `error`.
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// What groups the event with others into an issue, in place of Sentry's own rules.
    pub fn fingerprint<P: Into<String>>(mut self, parts: impl IntoIterator<Item = P>) -> Self {
        self.fingerprint = parts.into_iter().map(Into::into).collect();
        self
    }

    fn apply(self, scope: &mut Scope) {
        for (key, value) in &self.tags {
            scope.set_tag(key, value);
        }
        for (key, value) in self.extras {
            scope.set_extra(&key, value);
        }
        if self.level.is_some() {
            scope.set_level(self.level);
        }
        if !self.fingerprint.is_empty() {
            let parts: Vec<_> = self.fingerprint.iter().map(String::as_str).collect();
            scope.set_fingerprint(Some(&parts));
        }
    }
}

/// Captures a message, now.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::capture_message("the nightly import found nothing", steeple_sentry::Level::Warning);
/// # });
/// # assert_eq!(events[0].message.as_deref(), Some("the nightly import found nothing"));
/// ```
pub fn capture_message(text: &str, level: Level) -> Uuid {
    sentry_core::capture_message(text, level)
}

/// Notes a step that may turn out to have led to a failure. The last 100 of an exchange are on its events.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::breadcrumb("cart", "checked out 3 items");
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!(events[0].breadcrumbs[0].message.as_deref(), Some("checked out 3 items"));
/// ```
pub fn breadcrumb(category: impl Into<String>, message: impl Into<String>) {
    sentry_core::add_breadcrumb(Breadcrumb {
        category: Some(category.into()),
        message: Some(message.into()),
        ..Breadcrumb::default()
    });
}

/// Notes a step with all that Sentry shows of one: its type (which decides on the icon), its level, its data.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// use steeple_sentry::{Breadcrumb, Level};
///
/// steeple_sentry::add_breadcrumb(Breadcrumb {
///     ty: "http".to_owned(),
///     category: Some("inventory".to_owned()),
///     level: Level::Warning,
///     message: Some("answered late".to_owned()),
///     data: [("status_code".to_owned(), 200.into()), ("attempts".to_owned(), 3.into())].into(),
///     ..Breadcrumb::default()
/// });
/// # steeple_sentry::capture_message("x", Level::Error);
/// # });
/// # let crumb = &events[0].breadcrumbs[0];
/// # assert_eq!((&*crumb.ty, crumb.level, &crumb.data["attempts"]), ("http", steeple_sentry::Level::Warning, &3.into()));
/// ```
pub fn add_breadcrumb(breadcrumb: Breadcrumb) {
    sentry_core::add_breadcrumb(breadcrumb);
}

/// Says who is behind the exchange, for every observer: what of it Sentry sees is up to the privacy policy. Outside of an exchange
/// the user's id alone is kept.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::set_user(steeple_sentry::User::new("u-42"));
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!(events[0].user.as_ref().unwrap().id.as_deref(), Some("u-42"));
/// ```
pub fn set_user(user: User) {
    match Exchange::current() {
        Some(exchange) => exchange.set_user(user),
        None => Hub::current().configure_scope(|scope| {
            let user = sentry_core::User { id: user.id().map(str::to_owned), ..sentry_core::User::default() };
            scope.set_user(Some(user));
        }),
    }
}

/// Sets a tag: short, searchable, one of few values.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::set_tag("plan", "pro");
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!(events[0].tags["plan"], "pro");
/// ```
pub fn set_tag(key: &str, value: impl ToString) {
    Hub::current().configure_scope(|scope| scope.set_tag(key, value));
}

/// Sets an extra: anything that helps whoever reads the event.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::set_extra("items", 3);
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!(events[0].extra["items"], 3);
/// ```
pub fn set_extra(key: &str, value: impl Into<Value>) {
    Hub::current().configure_scope(|scope| scope.set_extra(key, value.into()));
}

/// Names the transaction, for every observer: one of a handful of names, never with an id in it.
///
/// # Examples
/// ```
/// # let events = sentry_core::test::with_captured_events(|| {
/// steeple_sentry::set_transaction("nightly import");
/// # steeple_sentry::capture_message("x", steeple_sentry::Level::Error);
/// # });
/// # assert_eq!(events[0].transaction.as_deref(), Some("nightly import"));
/// ```
pub fn set_transaction(name: impl Into<Text>) {
    let name = name.into();
    match Exchange::current() {
        Some(exchange) => exchange.set_name(name),
        None => Hub::current().configure_scope(|scope| scope.set_transaction(Some(name.as_str()))),
    }
}

/// Runs `f` as a span of the current transaction, if it is sampled.
///
/// # Examples
/// ```
/// let total = steeple_sentry::in_span("db.query", "SELECT total FROM carts WHERE id = $1", || 42);
/// assert_eq!(total, 42);
/// ```
pub fn in_span<T>(op: &str, description: &str, f: impl FnOnce() -> T) -> T {
    let parent = crate::bound::current()
        .and_then(|link| link.lock().running.as_ref().map(|running| running.transaction.clone()));
    let Some(parent) = parent else { return f() };
    let span = parent.start_child(op, description);
    let value = f();
    span.finish();
    value
}
