use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, Uri, header::USER_AGENT};
use steeple_core::{
    End, Exchange, NameSource, RequestId, Snapshot, Text, TraceContext, TransactionName, User, VisibleAddress, clock,
};
use steeple_scrub::{Recalled, Scrubbed, Scrubber};
use tracing::Level;

use super::{
    escape::clamp,
    value::{Field, MAX_VALUE},
};

const MAX_PATH: usize = 2048;
const MAX_QUERY: usize = 1024;
const MAX_USER_AGENT: usize = 1024;
const MAX_MESSAGE: usize = 8 * 1024;
const MAX_STACKTRACE: usize = 32 * 1024;

/// What takes up more than this does not wait for the next request.
const KEPT: usize = 1024;

/// What of the request's head the line will need, copied: the head goes into the service.
///
/// Kept as it came, in memory that serves one request after the other. It is scrubbed when the line is written, and cut only
/// then, so that a secret is found while it is whole; twice the length that is shown is kept for that.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Path and query, one behind the other.
    target: String,
    path: usize,
    has_query: bool,
    user_agent: Vec<u8>,
}

impl Captured {
    /// Takes what is needed of a request, in place of the one before.
    pub(crate) fn fill(&mut self, uri: &Uri, headers: &HeaderMap) {
        self.target.clear();
        let path = clamp(uri.path(), MAX_PATH.saturating_mul(2));
        let query = uri.query().map(|query| clamp(query, MAX_QUERY.saturating_mul(2)));
        self.target.push_str(path);
        if let Some(query) = query {
            self.target.push_str(query);
        }
        self.path = path.len();
        self.has_query = query.is_some();
        self.user_agent.clear();
        if let Some(user_agent) = headers.get(USER_AGENT) {
            let user_agent = user_agent.as_bytes();
            let kept = user_agent.get(..MAX_USER_AGENT.saturating_mul(2)).unwrap_or(user_agent);
            self.user_agent.extend_from_slice(kept);
        }
    }

    /// Whether it takes up so little that it may wait for the next request.
    pub(crate) fn is_small(&self) -> bool {
        self.target.capacity().saturating_add(self.user_agent.capacity()) <= KEPT
    }

    fn path(&self) -> &str {
        self.target.get(..self.path).unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.has_query.then(|| self.target.get(self.path..))?
    }

    fn user_agent(&self, scrubber: &Scrubber) -> Option<UserAgent<'_>> {
        if self.user_agent.is_empty() {
            return None;
        }
        let recalled = scrubber.recall(&self.user_agent).filter(|recalled| recalled.text().len() <= MAX_USER_AGENT);
        Some(recalled.map_or_else(|| UserAgent::Other(self.new_user_agent(scrubber)), UserAgent::Recalled))
    }

    fn new_user_agent(&self, scrubber: &Scrubber) -> Shown<'_> {
        match String::from_utf8_lossy(&self.user_agent) {
            Cow::Borrowed(text) => scrubber.text(text).cut(MAX_USER_AGENT, CUT),
            Cow::Owned(text) => scrubber.text(&text).cut(MAX_USER_AGENT, CUT).into_owned().into(),
        }
    }
}

/// What calls the service: a few browsers and libraries, again and again.
#[derive(Debug)]
pub(crate) enum UserAgent<'a> {
    Recalled(Recalled),
    Other(Shown<'a>),
}

impl UserAgent<'_> {
    pub(crate) fn text(&self) -> Scrubbed<&str> {
        match self {
            Self::Recalled(recalled) => recalled.text(),
            Self::Other(text) => text.as_deref(),
        }
    }
}

/// What marks a text that was cut.
const CUT: &str = "…";

/// The contents of an exchange's line. Every text in it is scrubbed, as its type shows, and bounded.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) end: &'a End,
    pub(crate) context: Context<'a>,
    pub(crate) method: &'static str,
    pub(crate) version: &'static str,
    pub(crate) rpc_method: Option<Shown<'a>>,
    pub(crate) path: Shown<'a>,
    pub(crate) query: Option<Shown<'a>>,
    pub(crate) user_agent: Option<UserAgent<'a>>,
    pub(crate) client_request_id: Option<Shown<'a>>,
    pub(crate) address: Option<&'a VisibleAddress>,
    pub(crate) error: Option<Shown<'a>>,
    pub(crate) attributes: Vec<Field<'static>>,
}

/// Text that a line may show.
pub(crate) type Shown<'a> = Scrubbed<Cow<'a, str>>;

/// Its known parts, borrowed.
pub(crate) fn borrowed<'s>(shown: Option<&'s Shown<'_>>) -> Option<Scrubbed<&'s str>> {
    shown.map(Scrubbed::as_deref)
}

impl<'a> Access<'a> {
    #[inline]
    pub(crate) fn new(
        scrubber: &Scrubber,
        level: Level,
        captured: &'a Captured,
        exchange: &'a Exchange,
        snapshot: &'a Snapshot,
        end: &'a End,
    ) -> Self {
        let Snapshot { name, user, client_address, client_request_id, error, attributes, .. } = snapshot;
        let error = error.as_ref().map(|error| Line::message(scrubber, &error.to_string()));
        let started = exchange.started();
        let at = clock::unix_at(started.checked_add(end.duration).unwrap_or(started));
        let context = Context::new(scrubber, exchange, name, user.as_ref());
        let rpc_method = exchange.rpc_method().map(|method| match context.target.vouch_for(method) {
            Some(method) => method.into(),
            None => scrubber.text(method).cut(MAX_VALUE, CUT),
        });
        Self {
            at,
            level,
            end,
            context,
            method: exchange.method(),
            version: exchange.version_str(),
            rpc_method,
            path: scrubber.path(captured.path()).cut(MAX_PATH, CUT),
            query: captured.query().map(|query| scrubber.query(query).cut(MAX_QUERY, CUT)),
            user_agent: captured.user_agent(scrubber),
            client_request_id: client_request_id.as_deref().map(|id| scrubber.text(id).cut(MAX_VALUE, CUT)),
            address: client_address.as_ref(),
            error,
            attributes: if attributes.is_empty() {
                Vec::new()
            } else {
                let field = |(key, value): &(Text, _)| Field::of_attribute(scrubber, key.as_str(), value);
                attributes.iter().map(field).collect()
            },
        }
    }

    /// What ended badly or oddly, for the message: nothing for an exchange that has simply completed.
    pub(crate) fn oddity(&self) -> Option<&'static str> {
        match self.end.outcome {
            steeple_core::Outcome::Completed => None,
            outcome @ (steeple_core::Outcome::Upgraded
            | steeple_core::Outcome::ServiceError
            | steeple_core::Outcome::BodyError
            | steeple_core::Outcome::Panicked
            | steeple_core::Outcome::Cancelled
            | steeple_core::Outcome::CancelledInBody) => Some(outcome.as_str()),
        }
    }
}

/// What every line of an exchange shows: its own line, and those that its handler logs.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) request_id: Option<&'a RequestId>,
    pub(crate) trace: Option<&'a TraceContext>,
    method: Option<&'static str>,
    target: Shown<'a>,
    /// `None` as well where the target is the route's template.
    route: Option<Shown<'a>>,
    is_named_after_route: bool,
    user: Option<Shown<'a>>,
}

/// What an exchange is called and whose it is, taken from it so that a [`Context`] can borrow it.
pub(crate) struct Names {
    name: TransactionName,
    user: Option<User>,
}

impl Names {
    pub(crate) fn of(exchange: &Exchange) -> Self {
        Self { name: exchange.name(), user: exchange.visible_user() }
    }
}

impl<'a> Context<'a> {
    pub(crate) fn of(scrubber: &Scrubber, exchange: &'a Exchange, names: &'a Names) -> Self {
        Self::new(scrubber, exchange, &names.name, names.user.as_ref())
    }

    #[inline]
    fn new(scrubber: &Scrubber, exchange: &'a Exchange, name: &'a TransactionName, user: Option<&'a User>) -> Self {
        let is_named_after_route = name.source() == NameSource::Route;
        let route = exchange.route().filter(|_| !is_named_after_route);
        Self {
            request_id: exchange.get_request_id(),
            trace: exchange.trace(),
            method: name.method(),
            target: named(scrubber, name.target_text()),
            route: route.map(|route| named(scrubber, route)),
            is_named_after_route,
            user: user.and_then(User::id).map(|id| scrubber.text(id).cut(MAX_VALUE, CUT)),
        }
    }

    pub(crate) fn user(&self) -> Option<Scrubbed<&str>> {
        borrowed(self.user.as_ref())
    }

    /// The parts of the name: method and target.
    pub(crate) fn name(&self) -> (Option<&'static str>, Scrubbed<&str>) {
        (self.method, self.target.as_deref())
    }

    /// Whether the name's target is the route's template.
    pub(crate) fn is_named_after_route(&self) -> bool {
        self.is_named_after_route
    }

    /// The template of the route.
    pub(crate) fn route(&self) -> Option<Scrubbed<&str>> {
        if self.is_named_after_route { Some(self.target.as_deref()) } else { borrowed(self.route.as_ref()) }
    }
}

/// A name. One that was there before any request is as the application wrote it.
#[inline]
fn named<'t>(scrubber: &Scrubber, name: &'t Text) -> Shown<'t> {
    if name.is_fixed() {
        Scrubbed::from_application(name.as_str()).into()
    } else {
        scrubber.text(name.as_str()).cut(MAX_VALUE, CUT)
    }
}

/// A line that a handler, a library or the service itself logged. Every text in it is scrubbed, as its type shows,
/// and bounded.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) target: Scrubbed<&'a str>,
    pub(crate) message: Shown<'static>,
    pub(crate) context: Option<Context<'a>>,
    pub(crate) span: Option<&'static str>,
    /// An exchange's own line: its fields have what the context would.
    pub(crate) is_access: bool,
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) stacktrace: Option<Shown<'static>>,
}

impl Line<'_> {
    /// The target of a record of the `log` crate, which may be put together at run time.
    #[cfg(feature = "log-records")]
    pub(crate) fn target(scrubber: &Scrubber, text: &str) -> Shown<'static> {
        scrubber.text(text).cut(MAX_VALUE, CUT).into_owned().into()
    }

    pub(crate) fn stacktrace(scrubber: &Scrubber, text: &str) -> Shown<'static> {
        scrubber.text(text).cut(MAX_STACKTRACE, CUT).into_owned().into()
    }

    pub(crate) fn message(scrubber: &Scrubber, text: &str) -> Shown<'static> {
        scrubber.text(text).cut(MAX_MESSAGE, CUT).into_owned().into()
    }
}
