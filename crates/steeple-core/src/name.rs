use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::Method;

/// A short text that is cheap to clone: a route template, a gRPC method, a name.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Configured(Arc<str>),
    Shared(Arc<str>),
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
}

impl Text {
    /// A text that is known at compile time. Never allocates.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Static(text))
    }

    /// A text that comes from the configuration: [fixed](Self::is_fixed), like one that is known at compile time.
    pub fn configured(text: impl Into<Arc<str>>) -> Self {
        Self(Repr::Configured(text.into()))
    }

    #[cfg(feature = "axum")]
    pub(crate) const fn matched(path: axum::extract::MatchedPath) -> Self {
        Self(Repr::Matched(path))
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(text) => text,
            Repr::Configured(text) | Repr::Shared(text) => text,
            #[cfg(feature = "axum")]
            Repr::Matched(path) => path.as_str(),
        }
    }

    /// Whether the text was there before any request: it is known at compile time or from the configuration, or a
    /// router was built with it. A text built while a request ran may contain the client's input.
    pub const fn is_fixed(&self) -> bool {
        !matches!(self.0, Repr::Shared(_))
    }

    pub(crate) const fn lifetime(&self) -> Lifetime {
        match self.0 {
            Repr::Static(_) => Lifetime::Process,
            Repr::Configured(_) => Lifetime::Configuration,
            Repr::Shared(_) => Lifetime::Request,
            #[cfg(feature = "axum")]
            Repr::Matched(_) => Lifetime::Configuration,
        }
    }
}

/// How long a text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as the process.
    Process,
    /// As long as what was configured with it, a router for instance.
    Configuration,
    /// As long as one request, perhaps.
    Request,
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Shared(text.into()))
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(Repr::Shared(text))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

/// Where the name of an exchange came from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameSource {
    /// The handler has set it.
    Custom,
    /// A rule that matched the path.
    Rule,
    /// The service and method of a gRPC call.
    Rpc,
    /// The template of the route that the router matched.
    Route,
    /// Nothing knew it.
    Unmatched,
}

impl NameSource {
    /// The name in log lines and on events: `route`, `rpc`, `custom`, `rule`, `unmatched`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Rule => "rule",
            Self::Rpc => "rpc",
            Self::Route => "route",
            Self::Unmatched => "unmatched",
        }
    }
}

/// What an exchange is called: bounded in number, fit for a metric label or an issue's title.
///
/// Displays as `GET /users/{id}`, as `pkg.Service/Method`, as `GET unmatched`, or as what the handler called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionName {
    method: Option<&'static str>,
    target: Text,
    source: NameSource,
}

impl TransactionName {
    pub(crate) fn new(method: Option<&'static str>, target: Text, source: NameSource) -> Self {
        Self { method, target, source }
    }

    /// The HTTP method, where it is part of the name: for routes, rules and unmatched requests.
    pub fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// The name without the method: `/users/{id}`.
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// The name without the method, cheap to clone.
    pub fn target_text(&self) -> &Text {
        &self.target
    }

    /// Where it came from.
    pub fn source(&self) -> NameSource {
        self.source
    }
}

impl fmt::Display for TransactionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = self.method {
            f.write_str(method)?;
            f.write_str(" ")?;
        }
        f.write_str(self.target.as_str())
    }
}

/// The methods that count as known in this process, where they were set.
static KNOWN_METHODS: OnceLock<Vec<Box<str>>> = OnceLock::new();

/// Most methods that may be known.
const MAX_METHODS: usize = 64;

/// Those of RFC 9110, RFC 5789 and the QUERY draft.
const STANDARD_METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// The methods that are known in this process: those of the standards, unless [others were set](set_known_methods).
pub fn known_methods() -> impl Iterator<Item = &'static str> {
    let own = KNOWN_METHODS.get();
    let standard = STANDARD_METHODS.into_iter().filter(move |_| own.is_none());
    own.into_iter().flatten().map(|method| &**method).chain(standard)
}

/// Sets which methods are known in this process, in place of the default ones: for services with further methods
/// (`PURGE`, `PROPFIND`). Call it before anything is served. A second call must set the same.
///
/// Returns whether these methods are the known ones now. They are not when the list is empty or has more than 64, when one is not a
/// method, or when others were set before.
///
/// # Source
/// OpenTelemetry semantic conventions, `http.request.method`: a list that replaces the default one, case-sensitive.
#[must_use = "it may not have worked"]
pub fn set_known_methods<M: AsRef<str>>(methods: impl IntoIterator<Item = M>) -> bool {
    let methods: Vec<Box<str>> =
        methods.into_iter().take(MAX_METHODS + 1).map(|method| method.as_ref().into()).collect();
    let is_method = |text: &str| text.len() <= 32 && Method::from_bytes(text.as_bytes()).is_ok();
    (1..=MAX_METHODS).contains(&methods.len())
        && methods.iter().all(|method| is_method(method))
        && KNOWN_METHODS.get_or_init(|| methods.clone()) == &methods
}

/// The method's name if RFC 9110, RFC 5789 or the QUERY draft knows it, else `_OTHER`: a client cannot invent values.
/// Where the process has [set a list](set_known_methods), that one counts.
pub fn known_method(method: &Method) -> &'static str {
    if let Some(known) = KNOWN_METHODS.get() {
        return known.iter().find(|known| ***known == *method.as_str()).map_or("_OTHER", |known| known);
    }
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ if method.as_str() == "QUERY" => "QUERY",
        _ => "_OTHER",
    }
}

/// Reads `pkg.Service/Method` from a request path, if it has that shape and at most 128 bytes.
pub(crate) fn rpc_from_path(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let (service, method) = name.split_once('/')?;
    let plain = |text: &str, dots: bool| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || (dots && byte == b'.'))
    };
    (name.len() <= 128 && plain(service, true) && plain(method, false)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_grpc_method_is_one() {
        assert_eq!(rpc_from_path("/pkg.v1.Service/Get"), Some("pkg.v1.Service/Get"));
        for path in ["", "/", "/a", "/a/", "//b", "/a/b/c", "/a b/c", "/a/b?c", "/a/%41"] {
            assert_eq!(rpc_from_path(path), None, "{path:?}");
        }
        assert_eq!(rpc_from_path(&format!("/{}/m", "s".repeat(127))), None, "too long");
    }

    #[test]
    fn only_what_was_there_before_any_request_is_fixed() {
        assert!(Text::from_static("a").is_fixed() && Text::configured("a").is_fixed());
        assert!(!Text::from(String::from("a")).is_fixed() && !Text::from(Arc::<str>::from("a")).is_fixed());
        assert_eq!(Text::configured("a"), Text::from_static("a"));
    }

    #[test]
    fn a_nonstandard_method_becomes_other() {
        assert_eq!(known_method(&Method::GET), "GET");
        assert_eq!(known_method(&Method::from_bytes(b"QUERY").unwrap()), "QUERY");
        assert_eq!(known_method(&Method::from_bytes(b"get").unwrap()), "_OTHER");
        assert_eq!(known_method(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
    }
}
