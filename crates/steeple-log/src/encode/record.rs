use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, Uri, header::USER_AGENT};
use steeple_core::{End, Exchange, RequestId, Snapshot, Text, TraceContext, TransactionName, User, VisibleAddress};
use steeple_scrub::Scrubber;
use tracing::Level;

use super::{
    Memo,
    escape::clamp,
    value::{Field, MAX_VALUE, shown},
};

const MAX_PATH: usize = 2048;
const MAX_QUERY: usize = 1024;
const MAX_USER_AGENT: usize = 1024;
const MAX_MESSAGE: usize = 8 * 1024;

/// What of the request's head the line will need, copied: the head goes into the service.
///
/// Kept as it came. It is scrubbed when the line is written, and cut only then, so that a secret is found while it is
/// whole; twice the length that is shown is kept for that.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    text: String,
    path: usize,
    /// Where the query ends. The same as `path`: there is none.
    query: usize,
    has_query: bool,
}

impl Captured {
    pub(crate) fn new(mut text: String, uri: &Uri, headers: &HeaderMap) -> Self {
        text.clear();
        let path = clamp(uri.path(), MAX_PATH.saturating_mul(2));
        let query = uri.query().map(|query| clamp(query, MAX_QUERY.saturating_mul(2)));
        let user_agent = headers.get(USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let user_agent = user_agent.get(..MAX_USER_AGENT.saturating_mul(2)).unwrap_or(user_agent);
        let total = path.len().saturating_add(query.map_or(0, str::len)).saturating_add(user_agent.len());
        text.reserve_exact(total);
        text.push_str(path);
        let path = text.len();
        text.push_str(query.unwrap_or_default());
        let end_of_query = text.len();
        match str::from_utf8(user_agent) {
            Ok(user_agent) => text.push_str(user_agent),
            Err(_) => text.push_str(&String::from_utf8_lossy(user_agent)),
        }
        Self { text, path, query: end_of_query, has_query: query.is_some() }
    }

    fn path(&self) -> &str {
        self.text.get(..self.path).unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.has_query.then(|| self.text.get(self.path..self.query))?
    }

    fn user_agent(&self) -> Option<&str> {
        self.text.get(self.query..).filter(|user_agent| !user_agent.is_empty())
    }

    pub(crate) fn into_buffer(self) -> String {
        self.text
    }
}

/// What an exchange's line says. Every text in it is scrubbed and bounded.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) end: &'a End,
    pub(crate) context: Context<'a>,
    pub(crate) method: &'static str,
    pub(crate) version: &'static str,
    pub(crate) rpc_method: Option<&'a str>,
    pub(crate) path: Cow<'a, str>,
    pub(crate) query: Option<Cow<'a, str>>,
    pub(crate) user_agent: Option<Cow<'a, str>>,
    pub(crate) client_request_id: Option<String>,
    pub(crate) address: Option<VisibleAddress>,
    pub(crate) error: Option<String>,
    pub(crate) attributes: Vec<Field<'static>>,
}

impl<'a> Access<'a> {
    pub(crate) fn new(
        scrubber: &Scrubber,
        memo: &Memo,
        at: Duration,
        level: Level,
        captured: &'a Captured,
        exchange: &'a Exchange,
        end: &'a End,
    ) -> Self {
        let Snapshot { name, route, user, client_address, client_request_id, error, attributes, .. } =
            exchange.snapshot();
        let error = error.map(|error| {
            let text = error.to_string();
            shown(scrubber.text(&text), MAX_MESSAGE).into_owned()
        });
        let client_request_id = client_request_id.map(|id| shown(scrubber.text(&id), MAX_VALUE).into_owned());
        Self {
            at,
            level,
            end,
            context: Context::new(scrubber, exchange, name, route, user),
            method: exchange.method(),
            version: exchange.version_str(),
            rpc_method: exchange.rpc_method(),
            path: shown(scrubber.path(captured.path()), MAX_PATH),
            query: captured.query().map(|query| shown(scrubber.query(query), MAX_QUERY)),
            user_agent: captured.user_agent().map(|user_agent| shown(memo.text(scrubber, user_agent), MAX_USER_AGENT)),
            client_request_id,
            address: client_address,
            error,
            attributes: attributes
                .iter()
                .map(|(key, value)| Field::of_attribute(scrubber, key.as_str(), value))
                .collect(),
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

/// What every line of an exchange says, its own and those that its handler logs.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) request_id: Option<&'a RequestId>,
    pub(crate) trace: Option<&'a TraceContext>,
    name: TransactionName,
    route: Option<Text>,
    user: Option<User>,
    // What is shown in their places where the scrubber found something.
    scrubbed_target: Option<String>,
    scrubbed_route: Option<String>,
    scrubbed_user: Option<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn of(scrubber: &Scrubber, exchange: &'a Exchange) -> Self {
        Self::new(scrubber, exchange, exchange.name(), exchange.route(), exchange.visible_user())
    }

    fn new(
        scrubber: &Scrubber,
        exchange: &'a Exchange,
        name: TransactionName,
        route: Option<Text>,
        user: Option<User>,
    ) -> Self {
        let scrubbed_target = changed(scrubber, name.target_text());
        let scrubbed_route = route.as_ref().and_then(|route| changed(scrubber, route));
        let scrubbed_user = user.as_ref().and_then(User::id).and_then(|id| match shown(scrubber.text(id), MAX_VALUE) {
            Cow::Borrowed(_) => None,
            Cow::Owned(safe) => Some(safe),
        });
        Self {
            request_id: exchange.get_request_id(),
            trace: exchange.trace(),
            name,
            scrubbed_target,
            route,
            scrubbed_route,
            user,
            scrubbed_user,
        }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.scrubbed_user.as_deref().or_else(|| self.user.as_ref()?.id())
    }

    /// The parts of the name: method and target.
    pub(crate) fn name(&self) -> (Option<&'static str>, &str) {
        (self.name.method(), self.scrubbed_target.as_deref().unwrap_or_else(|| self.name.target()))
    }

    /// The template of the route.
    pub(crate) fn route(&self) -> Option<&str> {
        self.scrubbed_route.as_deref().or_else(|| self.route.as_ref().map(Text::as_str))
    }
}

/// What is to be shown of a name instead of itself. Nothing for one that was there before any request.
fn changed(scrubber: &Scrubber, name: &Text) -> Option<String> {
    if name.is_fixed() {
        return None;
    }
    match shown(scrubber.text(name.as_str()), MAX_VALUE) {
        Cow::Borrowed(_) => None,
        Cow::Owned(safe) => Some(safe),
    }
}

/// A line that a handler, a library or the service itself logged. Every text in it is scrubbed and bounded.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) target: &'a str,
    pub(crate) message: Cow<'a, str>,
    pub(crate) context: Option<Context<'a>>,
    pub(crate) span: Option<&'static str>,
    /// An exchange's own line: its fields say what the context would.
    pub(crate) is_access: bool,
    pub(crate) fields: Vec<Field<'a>>,
}

impl Line<'_> {
    pub(crate) fn message(scrubber: &Scrubber, text: &str) -> String {
        shown(scrubber.text(text), MAX_MESSAGE).into_owned()
    }
}
