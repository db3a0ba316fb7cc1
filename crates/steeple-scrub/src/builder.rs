//! The builder of a scrubber.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use regex_automata::{meta::Regex, util::syntax};

use crate::{
    allow::{ALLOWED, DENIED, HeaderPolicy},
    error::BuildError,
    marker::Rule,
    name::{Names, normalize},
    policy::{EmailPolicy, Pattern, Policy},
    scrubber::Scrubber,
};

/// A compiled pattern takes no more memory than this, in bytes.
const PATTERN_SIZE: usize = 1 << 20;

/// Keys that have a telling word in them and hold nothing secret.
const EXCEPTIONS: &[&str] = &[
    "max_tokens",
    "min_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "idempotency_key",
    "x-idempotency-key",
];

/// Builds a [`Scrubber`]. All settings add to the safe defaults; [`build`](Self::build) validates them.
///
/// # Examples
/// ```
/// use steeple_scrub::Scrubber;
///
/// let scrubber = Scrubber::builder()
///     .deny_keys(["customer_number"])
///     .except_keys(["session_kind"])
///     .allow_headers(["x-tenant", "x-shop-*"])
///     .pattern("order", r"\bORD-[0-9]{6}\b")
///     .build()?;
/// assert_eq!(scrubber.text("late: ORD-123456"), "late: [redacted:order]");
/// assert_eq!(scrubber.query("customerNumber=7&page=2"), "customerNumber=[redacted:key]&page=2");
/// # Ok::<(), steeple_scrub::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone, Debug, Default)]
pub struct ScrubberBuilder {
    allowed_headers: Vec<String>,
    only_allowed_headers: bool,
    denied_headers: Vec<String>,
    allowed_cookies: Vec<String>,
    denied_keys: Vec<String>,
    excepted_keys: Vec<String>,
    patterns: Vec<(String, String)>,
    email: EmailPolicy,
}

impl ScrubberBuilder {
    /// Shows these headers in addition to the harmless standard ones. A `*` at the end matches any ending. A header that the
    /// deny list matches stays hidden unless [`except_keys`](Self::except_keys) names it too.
    pub fn allow_headers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.allowed_headers.extend(names.into_iter().map(Into::into));
        self
    }

    /// Shows only the headers named with [`allow_headers`](Self::allow_headers). Default: the harmless standard ones too.
    pub fn only_allowed_headers(mut self) -> Self {
        self.only_allowed_headers = true;
        self
    }

    /// Hides the headers whose names contain one of these words, in any case. Adds to the built-in list.
    pub fn deny_headers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.denied_headers.extend(names.into_iter().map(Into::into));
        self
    }

    /// Shows the values of these cookies. Default: no cookie is shown, and no cookie header.
    pub fn allow_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.allowed_cookies.extend(names.into_iter().map(Into::into));
        self
    }

    /// Removes the values of query parameters, form fields, JSON members, log fields and `name=value` pairs in text whose names
    /// contain one of these words, in any case and with any separators. Adds to the built-in list.
    pub fn deny_keys<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.denied_keys.extend(names.into_iter().map(Into::into));
        self
    }

    /// Excepts these keys and headers (whole names, in any case) from the deny lists. Values that look secret are still removed,
    /// and so are those marked with [`HeaderValue::set_sensitive`](http::HeaderValue::set_sensitive).
    pub fn except_keys<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.excepted_keys.extend(names.into_iter().map(Into::into));
        self
    }

    /// Removes what `regex` matches, everywhere, and leaves `[redacted:name]`.
    ///
    /// - Shape: `name` is 1 to 40 lower-case letters, digits and dashes. `regex` is in the syntax of the `regex` crate, matches at
    ///   least one character, and compiles to at most 1 MiB.
    /// - Cost: runs on every text. The 256th match in one text removes the rest of the text, so that the time stays linear.
    pub fn pattern(mut self, name: impl Into<String>, regex: impl Into<String>) -> Self {
        self.patterns.push((name.into(), regex.into()));
        self
    }

    /// Sets whether e-mail addresses are removed. Default: [`EmailPolicy::Redact`].
    pub fn email(mut self, policy: EmailPolicy) -> Self {
        self.email = policy;
        self
    }

    /// Validates the settings and builds the scrubber.
    ///
    /// # Errors
    /// Returns an error when a pattern, a header or a key is invalid ([`BuildError::is_pattern`],
    /// [`is_header`](BuildError::is_header), [`is_key`](BuildError::is_key)). The message names it.
    pub fn build(self) -> Result<Scrubber, BuildError> {
        let mut patterns: Vec<Pattern> = Vec::with_capacity(self.patterns.len());
        for (name, regex) in &self.patterns {
            let taken = patterns.iter().any(|pattern| *pattern.name == **name);
            if taken || !is_pattern_name(name) || patterns.len() >= usize::from(u16::MAX) {
                return Err(BuildError::pattern_name(name));
            }
            // Texts are bytes: a match may begin and end anywhere.
            let compiled = Regex::builder()
                .syntax(syntax::Config::new().utf8(false))
                .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(PATTERN_SIZE)))
                .build(regex)
                .map_err(|error| BuildError::pattern(name, error))?;
            if compiled.is_match(b"") {
                return Err(BuildError::empty_pattern(name));
            }
            patterns.push(Pattern { name: name.as_str().into(), text: regex.as_str().into(), regex: compiled });
        }
        let allowed = self.allowed_headers.iter().map(|name| header_name(name, true)).collect::<Result<Vec<_>, _>>()?;
        let denied = self.denied_headers.iter().map(|name| header_name(name, false)).collect::<Result<Vec<_>, _>>()?;
        let denied_keys = self.denied_keys.iter().map(|key| key_name(key)).collect::<Result<Vec<_>, _>>()?;
        let excepted_keys = self.excepted_keys.iter().map(|key| key_name(key)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.assemble(patterns, allowed, denied, Names { denied: denied_keys, excepted: excepted_keys }))
    }

    /// The scrubber that needs no checks.
    pub(crate) fn defaults(self) -> Scrubber {
        self.assemble(Vec::new(), Vec::new(), Vec::new(), Names::default())
    }

    /// Adds the checked settings to the defaults.
    fn assemble(self, patterns: Vec<Pattern>, allowed: Vec<String>, denied: Vec<String>, mut names: Names) -> Scrubber {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let standard: &[&str] = if self.only_allowed_headers { &[] } else { ALLOWED };
        let allowed = standard.iter().map(|&name| name.to_owned()).chain(allowed);
        let denied = DENIED.iter().map(|&name| name.to_owned()).chain(denied).map(String::into_boxed_str).collect();
        names.excepted.extend(EXCEPTIONS.iter().map(|name| normalize(name)));
        let excepted = self.excepted_keys.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        let cookies = self.allowed_cookies.into_iter().map(String::into_boxed_str).collect();
        Scrubber::from_policy(Arc::new(Policy {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            email: self.email,
            names,
            markers: patterns.iter().map(|pattern| format!("[redacted:{}]", pattern.name).into()).collect(),
            patterns,
            headers: HeaderPolicy::new(allowed, denied, excepted, cookies),
        }))
    }
}

fn is_pattern_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let taken =
        Rule::BUILT_IN.iter().any(|rule| rule.marker().get(10..).and_then(|rest| rest.strip_suffix(']')) == Some(name));
    (1..=40).contains(&name.len()) && letters && !taken
}

fn header_name(name: &str, star: bool) -> Result<String, BuildError> {
    let lower = name.to_ascii_lowercase();
    let base = if star { lower.strip_suffix('*').unwrap_or(&lower) } else { &lower };
    match http::HeaderName::try_from(base) {
        Ok(_) => Ok(lower),
        Err(_) => Err(BuildError::header(name)),
    }
}

fn key_name(name: &str) -> Result<Box<[u8]>, BuildError> {
    let normal = normalize(name);
    if normal.is_empty() { Err(BuildError::key(name)) } else { Ok(normal) }
}
