use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    sync::{Arc, LazyLock},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, request::Parts};

use crate::{
    builder::ScrubberBuilder,
    classes,
    explain::{DryRun, Explanation},
    header::{self, HeaderVerdict},
    judge,
    memo::{self, Recalled},
    policy::Policy,
    scrubbed::Scrubbed,
    text, url,
};

/// Finds secrets and replaces them with markers.
///
/// Cheap to clone: clones share one policy. The default removes everything that [`explain`](Self::explain) lists.
/// - Cost: text without a secret is returned borrowed; nothing is allocated unless there are escapes (`%3D`, `\"`) to undo. The
///   time is linear in the input, and no input causes a panic.
/// - A secret is removed whole, and a marker gives the reason: `[redacted:jwt]`. Scrubbing a second time changes nothing.
///
/// # Examples
/// ```
/// use steeple_scrub::Scrubber;
///
/// let scrubber = Scrubber::default();
/// assert_eq!(scrubber.text("cannot reach postgres://app:hunter2@db/shop"), "cannot reach postgres://[redacted:userinfo]@db/shop");
/// assert_eq!(scrubber.query("page=2&access_token=abc"), "page=2&access_token=[redacted:key]");
/// ```
#[derive(Clone)]
#[doc(alias = "mask", alias = "redact", alias = "sanitize", alias = "filter")]
pub struct Scrubber {
    pub(crate) policy: Arc<Policy>,
}

/// How many levels of an error are read.
const CHAIN: usize = 32;

impl Scrubber {
    /// Returns a builder with the safe defaults.
    pub fn builder() -> ScrubberBuilder {
        ScrubberBuilder::default()
    }

    pub(crate) const fn from_policy(policy: Arc<Policy>) -> Self {
        Self { policy }
    }

    /// Scrubs free text: log messages, panics, error chains, SQL, a body of unknown form. Borrowed if nothing is secret.
    #[must_use = "the text itself is not changed"]
    pub fn text<'t>(&self, text: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(text::scrub(&self.policy, text))
    }

    /// Scrubs like [`text`](Self::text), and remembers the result: for texts that recur, such as user agents and host names. Each
    /// thread remembers at most 64 texts of at most 512 bytes that it has seen twice.
    #[must_use = "the text itself is not changed"]
    pub fn repeated_text<'t>(&self, text: &'t str) -> Scrubbed<Cow<'t, str>> {
        memo::text(self, text)
    }

    /// Returns what [`repeated_text`](Self::repeated_text) remembers of a text, without a copy of it. `None` when this thread sees it
    /// for the first time, and for a text that is longer than 512 bytes or not UTF-8.
    ///
    /// # Examples
    /// ```
    /// let scrubber = steeple_scrub::Scrubber::default();
    /// assert!(scrubber.recall(b"curl/8.5").is_none());
    /// assert_eq!(scrubber.recall(b"curl/8.5").unwrap().text(), "curl/8.5");
    /// ```
    pub fn recall(&self, text: &[u8]) -> Option<Recalled> {
        memo::recall(self, text)
    }

    /// Scrubs the query of a URL, without its `?`. Names and values are decoded first; a value is removed whole if its name is on a
    /// list or if any part of it is secret.
    #[must_use = "the query itself is not changed"]
    pub fn query<'t>(&self, query: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::query(&self.policy, query))
    }

    /// Scrubs an `application/x-www-form-urlencoded` body, like [`query`](Self::query).
    #[must_use = "the form itself is not changed"]
    pub fn form<'t>(&self, form: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::query(&self.policy, form))
    }

    /// Scrubs the path of a URL. A segment is removed whole if any part of it is secret, or if it looks random and follows a
    /// segment such as `reset-password`.
    #[must_use = "the path itself is not changed"]
    pub fn path<'t>(&self, path: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::path(&self.policy, path))
    }

    /// Scrubs the target of a request. Borrowed if it is a path and query without secrets.
    #[must_use = "the URI itself is not changed"]
    pub fn uri<'t>(&self, uri: &'t Uri) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::uri(&self.policy, uri))
    }

    /// Scrubs a URL, absolute or relative, given as text (`Referer`, `Location`): user, path, query and fragment.
    #[must_use = "the URL itself is not changed"]
    pub fn url<'t>(&self, url: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::url(&self.policy, url))
    }

    /// Scrubs the value of a log field, a tag or an attribute named `key`.
    #[must_use = "the value itself is not changed"]
    pub fn field<'t>(&self, key: &str, value: &'t str) -> Scrubbed<Cow<'t, str>> {
        self.named(key, value).unwrap_or_else(|| self.text(value))
    }

    /// Scrubs like [`field`](Self::field), and remembers what becomes of the value, as [`repeated_text`](Self::repeated_text) does.
    #[must_use = "the value itself is not changed"]
    pub fn repeated_field<'t>(&self, key: &str, value: &'t str) -> Scrubbed<Cow<'t, str>> {
        self.named(key, value).unwrap_or_else(|| self.repeated_text(value))
    }

    /// What takes the place of a value that its name gives away.
    fn named<'t>(&self, key: &str, value: &str) -> Option<Scrubbed<Cow<'t, str>>> {
        let class = classes::classify(&self.policy, key.as_bytes());
        if class > crate::name::Class::Open
            && let Some(rule @ (crate::marker::Rule::Key | crate::marker::Rule::Entropy)) =
                judge::verdict(&self.policy, class, value.as_bytes())
        {
            return Some(Scrubbed::new(Cow::Owned(self.policy.marker(rule).to_owned())));
        }
        None
    }

    /// Returns whether `key` alone marks its value as secret: for sinks that omit the field instead.
    pub fn is_denied_key(&self, key: &str) -> bool {
        classes::classify(&self.policy, key.as_bytes()) > crate::name::Class::Weak
    }

    /// Returns whether a header may be shown, with its scrubbed value. Headers that are marked sensitive, that the deny list names or
    /// that the allow list does not name are hidden.
    pub fn header<'v>(&self, name: &HeaderName, value: &'v HeaderValue) -> HeaderVerdict<'v> {
        header::verdict(&self.policy, name, value)
    }

    /// Iterates over the headers that may be shown, with their scrubbed values.
    ///
    /// # Examples
    /// ```
    /// use http::{HeaderMap, HeaderValue};
    /// use steeple_scrub::Scrubber;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("accept", HeaderValue::from_static("*/*"));
    /// headers.insert("x-api-key", HeaderValue::from_static("abc"));
    /// let scrubber = Scrubber::default();
    /// let shown: Vec<_> = scrubber.headers(&headers).map(|(name, value)| format!("{name}: {value}")).collect();
    /// assert_eq!(shown, ["accept: */*"]);
    /// ```
    pub fn headers<'h>(
        &'h self,
        headers: &'h HeaderMap,
    ) -> impl Iterator<Item = (&'h HeaderName, Scrubbed<Cow<'h, str>>)> {
        headers.iter().filter_map(|(name, value)| Some((name, header::if_shown(&self.policy, name, value)?)))
    }

    /// Scrubs a `Cookie` header: keeps only the values of allowed cookies.
    #[must_use = "the cookies themselves are not changed"]
    pub fn cookies<'t>(&self, cookies: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(header::cookies(&self.policy, cookies))
    }

    /// Scrubs a JSON value in place: members by their names; strings, numbers and names by what they look like. A denied name removes
    /// everything below it. Does not recurse: no depth overflows the stack.
    #[cfg(feature = "json")]
    pub fn json(&self, value: &mut serde_json::Value) {
        crate::json::scrub(&self.policy, value);
    }

    /// Scrubs an error and its sources, outermost first, separated by `: `; at most 32 levels.
    pub fn error_chain(&self, error: &(dyn Error + 'static)) -> Scrubbed<String> {
        let mut chain = error.to_string();
        let mut next = error.source();
        for _ in 1..CHAIN {
            let Some(source) = next else { break };
            // Writing to a string fails only if the error's own `Display` does: then what it wrote so far is kept.
            if write!(chain, ": {source}").is_err() {
                break;
            }
            next = source.source();
        }
        self.text(&chain).into_owned()
    }

    /// Scrubs a value that holds texts in several places. The closure `scrub` is responsible for all of them.
    ///
    /// # Examples
    /// ```
    /// use steeple_scrub::{Scrubbed, Scrubber};
    ///
    /// struct Crumb(String);
    ///
    /// let crumb: Scrubbed<Crumb> = Scrubber::default().scrub_with(Crumb("pin=1234".to_owned()), |scrubber, crumb| {
    ///     crumb.0 = scrubber.text(&crumb.0).to_string();
    /// });
    /// assert_eq!(crumb.0, "pin=[redacted:key]");
    /// ```
    pub fn scrub_with<T>(&self, mut value: T, scrub: impl FnOnce(&Self, &mut T)) -> Scrubbed<T> {
        scrub(self, &mut value);
        Scrubbed::new(value)
    }

    /// The policy in words: which values are removed where, and by which rule.
    pub fn explain(&self) -> Explanation {
        Explanation::of(&self.policy)
    }

    /// Returns what a sink would see of a request, header by header.
    pub fn dry_run(&self, request: &Parts) -> DryRun {
        DryRun::of(&self.policy, request)
    }
}

impl Default for Scrubber {
    fn default() -> Self {
        static DEFAULT: LazyLock<Scrubber> = LazyLock::new(|| ScrubberBuilder::default().defaults());
        DEFAULT.clone()
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").field("patterns", &self.policy.markers).finish_non_exhaustive()
    }
}

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<Scrubber>();
