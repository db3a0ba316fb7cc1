//! Secrets in every place that can hold one, and look-alikes that must survive. For tests; not covered by semver.
//!
//! Nothing here is a live secret, and none stands in the source: each is put together when the test runs, from a prefix and from
//! characters that a fixed seed draws, so that no forge's own scanner stumbles over them. The same calls give the same corpus.
//!
//! # Examples
//! ```
//! use steeple_scrub::{Scrubber, corpus};
//!
//! let scrubber = Scrubber::default();
//! for secret in corpus::secrets() {
//!     let seen = secret.seen(&scrubber);
//!     assert!(!secret.leaks_into(&seen), "{secret:?} leaks: {seen}");
//! }
//! ```

#![expect(clippy::arithmetic_side_effects, reason = "test data, of small numbers")]

mod lookalikes;
mod secrets;

use std::fmt;

use http::{HeaderName, HeaderValue, Uri};

pub use self::{lookalikes::lookalikes, secrets::secrets};
use crate::Scrubber;

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The value of a header; the case's name is the header's.
    Header,
    /// A query, without its `?`.
    Query,
    /// A path.
    Path,
    /// A request's target: path and query.
    Target,
    /// An absolute URL: fragment and user information are here.
    Url,
    /// A form's body.
    Form,
    /// A JSON document.
    Json,
    /// The value of a `Cookie` header.
    Cookie,
    /// The value of a log field, tag or attribute; the case's name is the field's.
    Field,
    /// A log message.
    Message,
    /// An error's message.
    Error,
    /// A breadcrumb's message.
    Breadcrumb,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Header => "header",
            Self::Query => "query",
            Self::Path => "path",
            Self::Target => "target",
            Self::Url => "url",
            Self::Form => "form",
            Self::Json => "json",
            Self::Cookie => "cookie",
            Self::Field => "field",
            Self::Message => "message",
            Self::Error => "error",
            Self::Breadcrumb => "breadcrumb",
        })
    }
}

/// A text with one secret in it.
#[derive(Clone, Debug)]
pub struct Secret {
    /// What it is: `jwt`, `password`.
    pub kind: &'static str,
    /// Where it stands.
    pub place: Place,
    /// The header's or field's name, where it needs one.
    pub name: String,
    /// The text that holds the secret.
    pub text: String,
    /// The secret, as it stands in `text`.
    pub secret: String,
}

impl Secret {
    /// What a sink gets to see of it.
    pub fn seen(&self, scrubber: &Scrubber) -> String {
        seen(scrubber, self.place, &self.name, &self.text)
    }

    /// Is the secret, or any 8 characters of it in a row, in `seen`?
    pub fn leaks_into(&self, seen: &str) -> bool {
        let chars: Vec<char> = self.secret.chars().collect();
        chars.windows(chars.len().clamp(1, 8)).any(|window| seen.contains(&window.iter().collect::<String>()))
    }
}

/// A text without any secret, though it may look like one.
#[derive(Clone, Debug)]
pub struct Lookalike {
    /// What it looks like.
    pub kind: &'static str,
    /// Where it stands.
    pub place: Place,
    /// The header's or field's name, where it needs one.
    pub name: String,
    /// The text, none of which may be removed.
    pub text: String,
}

impl Lookalike {
    /// What a sink gets to see of it: `text`, or it was wrongly removed.
    pub fn seen(&self, scrubber: &Scrubber) -> String {
        seen(scrubber, self.place, &self.name, &self.text)
    }
}

fn seen(scrubber: &Scrubber, place: Place, name: &str, text: &str) -> String {
    match place {
        Place::Header => {
            let name = HeaderName::try_from(name).ok();
            let value = HeaderValue::try_from(text).ok();
            name.zip(value)
                .map(|(name, value)| scrubber.header(&name, &value).or_marker().to_string())
                .unwrap_or_default()
        }
        Place::Query => scrubber.query(text).to_string(),
        Place::Path => scrubber.path(text).to_string(),
        Place::Target => text.parse::<Uri>().map(|uri| scrubber.uri(&uri).to_string()).unwrap_or_default(),
        Place::Url => scrubber.url(text).to_string(),
        Place::Form => scrubber.form(text).to_string(),
        Place::Json => json(scrubber, text),
        Place::Cookie => scrubber.cookies(text).to_string(),
        Place::Field => scrubber.field(name, text).to_string(),
        Place::Message | Place::Error | Place::Breadcrumb => scrubber.text(text).to_string(),
    }
}

#[cfg(feature = "json")]
fn json(scrubber: &Scrubber, text: &str) -> String {
    let Ok(mut value) = serde_json::from_str(text) else { return String::new() };
    scrubber.json(&mut value);
    value.to_string()
}

/// In unit tests without the feature `json`, a document is text like any other.
#[cfg(not(feature = "json"))]
fn json(scrubber: &Scrubber, text: &str) -> String {
    scrubber.text(text).to_string()
}

/// Draws characters from a fixed seed.
struct Draw(u64);

impl Draw {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self, below: usize) -> usize {
        // The generator of PCG, upper bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default().checked_rem(below).unwrap_or_default()
    }

    fn from(&mut self, alphabet: &str, len: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..len).filter_map(|_| alphabet.get(self.next(alphabet.len())).map(|byte| char::from(*byte))).collect()
    }

    fn alnum(&mut self, len: usize) -> String {
        self.mixed("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", len)
    }

    /// As `from`, with digits among the letters, as nearly every real one has.
    fn mixed(&mut self, alphabet: &str, len: usize) -> String {
        loop {
            let drawn = self.from(alphabet, len);
            let digits = drawn.bytes().filter(u8::is_ascii_digit).count();
            if len < 8 || digits >= 2 && digits < len.saturating_sub(2) {
                return drawn;
            }
        }
    }

    fn hex(&mut self, len: usize) -> String {
        self.mixed("0123456789abcdef", len)
    }

    fn upper(&mut self, len: usize) -> String {
        self.mixed("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", len)
    }

    fn digits(&mut self, len: usize) -> String {
        self.from("0123456789", len)
    }
}
