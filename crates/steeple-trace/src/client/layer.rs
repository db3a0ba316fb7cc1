use std::{fmt, net::IpAddr, sync::Arc};

use tower_layer::Layer;

use super::{Client, ClientCall};
use crate::{Trace, attributes::split_host};

pub(super) type OnEnd = Arc<dyn Fn(&ClientCall<'_>) + Send + Sync>;

/// The template of a call's path, such as `/users/{id}`: put into the request's extensions, it names the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

/// Makes a span for each outgoing call and passes the trace on. Made by [`Trace::client_layer`].
///
/// Inside of an exchange the call belongs to its trace; outside of one it begins its own. A call of an exchange that is
/// not sampled has no span, and passes the trace's ids on all the same.
///
/// # Examples
/// ```
/// use steeple_trace::Trace;
/// use tower::{ServiceBuilder, service_fn};
///
/// let trace = Trace::builder().build()?;
/// // In place of `service_fn`: hyper's client or tonic's channel.
/// let client = ServiceBuilder::new().layer(trace.client_layer()).service(service_fn(
///     |request: http::Request<String>| async move {
///         assert!(request.headers().contains_key("traceparent"));
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
///     },
/// ));
/// # let _unused = client;
/// # Ok::<(), steeple_trace::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ClientLayer {
    pub(super) trace: Trace,
    pub(super) options: Arc<Options>,
}

#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) server: Option<(String, Option<u16>)>,
    pub(super) baggage_to: Vec<String>,
    pub(super) only_to: Option<Vec<String>>,
    pub(super) on_end: Option<OnEnd>,
}

impl ClientLayer {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, options: Arc::default() }
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    /// The `host:port` of the service, for clients whose requests do not say it: tonic's channel.
    pub fn server(self, authority: &str) -> Self {
        let (host, port) = split_host(authority);
        let server = host.map(|host| (host.to_owned(), port));
        self.set(|options| options.server = server)
    }

    /// Passes `baggage` on to this host as well; `*.example.internal` stands for all below it, `*` for all.
    ///
    /// By default baggage goes to nobody: it may say who the user is.
    pub fn baggage_to(self, host: impl Into<String>) -> Self {
        let host = host.into();
        self.set(|options| options.baggage_to.push(host))
    }

    /// Passes the trace on to this host, and to others that are named like this, but to no one else.
    pub fn only_to(self, host: impl Into<String>) -> Self {
        let host = host.into();
        self.set(|options| options.only_to.get_or_insert_default().push(host))
    }

    /// Calls this when a call is over, whether it has a span or not: for metrics of outgoing calls.
    pub fn on_end(self, hook: impl Fn(&ClientCall<'_>) + Send + Sync + 'static) -> Self {
        self.set(|options| options.on_end = Some(Arc::new(hook)))
    }
}

impl Options {
    pub(super) fn gets_baggage(&self, host: &str) -> bool {
        self.baggage_to.iter().any(|pattern| matches(pattern, host))
    }

    pub(super) fn gets_trace(&self, host: &str) -> bool {
        self.only_to.as_ref().is_none_or(|hosts| hosts.iter().any(|pattern| matches(pattern, host)))
    }
}

/// `*`, `*.example.org` or a host.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            let len = host.len().saturating_sub(parent.len());
            host.parse::<IpAddr>().is_err()
                && host.get(len..).is_some_and(|end| end.eq_ignore_ascii_case(parent))
                && host.get(..len).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
        }
        None => pattern == "*" || pattern.eq_ignore_ascii_case(host),
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, inner: S) -> Client<S> {
        Client::new(inner, self.clone())
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("server", &self.options.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_whole_or_below_a_parent() {
        assert!(matches("*", "anything") && matches("api.example", "API.example"));
        assert!(matches("*.example.org", "a.b.Example.org"));
        for host in ["example.org", ".example.org", "evilexample.org", "example.org.evil"] {
            assert!(!matches("*.example.org", host), "{host}");
        }
        assert!(!matches("*.0.0.1", "127.0.0.1"));
    }
}
