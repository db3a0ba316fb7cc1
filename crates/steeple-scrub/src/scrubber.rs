use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    sync::{Arc, LazyLock},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, request::Parts};

use crate::{
    builder::ScrubberBuilder,
    explain::{DryRun, Explanation},
    header::{self, HeaderVerdict},
    judge, memo,
    policy::Policy,
    scrubbed::Scrubbed,
    text, url,
};

/// Finds secrets and puts markers in their places.
///
/// Cheap to clone: clones share one policy. The default removes everything that [`explain`](Self::explain) lists.
/// - Cost: what has no secret in it comes back borrowed; nothing is allocated unless there are escapes (`%3D`, `\"`) to undo. The time is linear in the input, whatever it is, and
///   no input makes it panic.
/// - All of a secret goes, with the reason in its place: `[redacted:jwt]`. Scrubbing what was scrubbed changes nothing.
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
pub struct Scrubber {
    pub(crate) policy: Arc<Policy>,
}

/// Errors have no more levels than this; what is deeper is left out.
const CHAIN: usize = 32;

impl Scrubber {
    /// Options, beginning with the safe defaults.
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

    /// [`text`](Self::text) for what comes again and again and is one of a few: a user agent, the name of a host. What was made of
    /// it is remembered on this thread: 64 texts at most, none longer than 512 bytes, and none that came only once.
    #[must_use = "the text itself is not changed"]
    pub fn repeated_text<'t>(&self, text: &'t str) -> Scrubbed<Cow<'t, str>> {
        memo::text(self, text)
    }

    /// Scrubs `name=value&…` as a URL has it after its `?`. A value goes whole if its name is on a list or if anything in it is secret;
    /// both are decoded for that.
    #[must_use = "the query itself is not changed"]
    pub fn query<'t>(&self, query: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::query(&self.policy, query))
    }

    /// Scrubs an `application/x-www-form-urlencoded` body, like [`query`](Self::query).
    #[must_use = "the form itself is not changed"]
    pub fn form<'t>(&self, form: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::query(&self.policy, form))
    }

    /// Scrubs a URL's path: a segment goes whole if anything in it is secret, or if it looks random and the one before
    /// is called `reset-password` or the like.
    #[must_use = "the path itself is not changed"]
    pub fn path<'t>(&self, path: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::path(&self.policy, path))
    }

    /// Scrubs a request's target. Borrowed if it is a path and query without secrets, as most are.
    #[must_use = "the URI itself is not changed"]
    pub fn uri<'t>(&self, uri: &'t Uri) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::uri(&self.policy, uri))
    }

    /// Scrubs a URL, absolute or relative, given as text (`Referer`, `Location`): user, path, query and fragment.
    #[must_use = "the URL itself is not changed"]
    pub fn url<'t>(&self, url: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(url::url(&self.policy, url))
    }

    /// Scrubs the value that goes by the name `key`: a log field, a tag, an attribute.
    #[must_use = "the value itself is not changed"]
    pub fn field<'t>(&self, key: &str, value: &'t str) -> Scrubbed<Cow<'t, str>> {
        let class = self.policy.classify(key.as_bytes());
        if class > crate::name::Class::Open
            && let Some(rule @ (crate::marker::Rule::Key | crate::marker::Rule::Entropy)) =
                judge::verdict(&self.policy, class, value.as_bytes())
        {
            return Scrubbed::new(Cow::Owned(self.policy.marker(rule).to_owned()));
        }
        self.text(value)
    }

    /// Does `key` alone say that its value is secret? For a sink that would rather leave the field out.
    pub fn is_denied_key(&self, key: &str) -> bool {
        self.policy.classify(key.as_bytes()) > crate::name::Class::Weak
    }

    /// Says if a header may be shown, and how. A value marked sensitive and a name on the deny list are hidden, and so is what
    /// nobody allowed; a value that is shown is scrubbed.
    pub fn header<'v>(&self, name: &HeaderName, value: &'v HeaderValue) -> HeaderVerdict<'v> {
        header::verdict(&self.policy, name, value)
    }

    /// The headers that may be shown, scrubbed.
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

    /// Scrubs a `Cookie` header: only the values of cookies that were allowed by name stay.
    #[must_use = "the cookies themselves are not changed"]
    pub fn cookies<'t>(&self, cookies: &'t str) -> Scrubbed<Cow<'t, str>> {
        Scrubbed::new(header::cookies(&self.policy, cookies))
    }

    /// Scrubs a JSON value in place: members by their names, strings, numbers and names by what they look like. All that is below a
    /// denied name goes at once. Not recursive: no depth overflows the stack.
    #[cfg(feature = "json")]
    pub fn json(&self, value: &mut serde_json::Value) {
        crate::json::scrub(&self.policy, value);
    }

    /// Scrubs an error and its sources, outermost first, `: ` between them; at most 32 levels.
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

    /// Scrubs something that holds texts in several places, and says of all of it that it is scrubbed: that is for `scrub`
    /// to see to.
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

    /// The policy in words: what is removed where, and by which rule.
    pub fn explain(&self) -> Explanation {
        Explanation::of(&self.policy)
    }

    /// What a sink would get to see of a request, header by header.
    pub fn dry_run(&self, request: &Parts) -> DryRun {
        DryRun::of(self, request)
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
