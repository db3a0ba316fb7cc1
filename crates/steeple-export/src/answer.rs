use std::{borrow::Cow, fmt, time::Duration};

use steeple_scrub::{Scrubbed, Scrubber};

/// Longest text of a [`Reason`], in bytes.
const MAX_REASON: usize = 256;

/// What a receiver, or the network, made of a batch.
///
/// What happens next is the pipeline's business: see each variant. `why` texts are shown in the log and in
/// [`Health`](crate::Health), once per change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// All of it is stored.
    Accepted,
    /// One verdict per item, in the batch's order. Missing verdicts count as [`Verdict::Retry`].
    Items(Vec<Verdict>),
    /// Not now: the whole batch is tried again, after the sink's backoff and not before `after`.
    Retry {
        /// What the receiver asked for (`Retry-After`). Capped by [`Retry::max_retry_after`](crate::Retry::max_retry_after).
        after: Option<Duration>,
        /// Counted if attempts or time run out.
        cause: DropReason,
        /// For people.
        why: Reason,
    },
    /// Too large (413): both halves are sent apart, down to one item, which is dropped as [`DropReason::TooLarge`].
    TooLarge,
    /// Something in it is refused, without saying what: both halves are sent apart, down to the one item, which is dropped as
    /// [`DropReason::Rejected`].
    Bisect(Reason),
    /// Refused for good: the batch is dropped.
    Rejected {
        /// The counted reason.
        cause: DropReason,
        /// For people.
        why: Reason,
    },
    /// It was sent, and no answer came. [`InDoubt`](crate::InDoubt) decides.
    InDoubt(Reason),
    /// The key is wrong or missing (401, 403). [`Unauthorized`](crate::Unauthorized) decides.
    Paused(Reason),
    /// The receiver wants nothing more, ever: everything is dropped from now on.
    Disabled(Reason),
}

impl Answer {
    /// Tries again after the backoff.
    pub fn retry(cause: DropReason, why: impl Into<Reason>) -> Self {
        Self::Retry { after: None, cause, why: why.into() }
    }

    /// Why no response arrived, as text.
    #[cfg(feature = "http")]
    pub(crate) fn into_reason(self) -> Reason {
        match self {
            Self::Retry { why, .. }
            | Self::Rejected { why, .. }
            | Self::Bisect(why)
            | Self::InDoubt(why)
            | Self::Paused(why)
            | Self::Disabled(why) => why,
            Self::Accepted | Self::Items(_) | Self::TooLarge => Reason::from("no answer"),
        }
    }

    /// Drops the batch as [`DropReason::Rejected`].
    pub fn rejected(why: impl Into<Reason>) -> Self {
        Self::Rejected { cause: DropReason::Rejected, why: why.into() }
    }
}

/// What a receiver made of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is stored.
    Stored,
    /// Not now: this item is tried again.
    Retry,
    /// Refused for good: dropped as [`DropReason::Rejected`].
    Poison(Reason),
}

/// Why an item did not arrive: the label `reason` of every `dropped` counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full, in items or in bytes.
    QueueFull,
    /// Larger than the queue, or than what the receiver takes.
    TooLarge,
    /// The receiver asked for less.
    RateLimited,
    /// The receiver could not be reached, until attempts or time ran out.
    Network,
    /// The receiver answered that it cannot (5xx), until attempts or time ran out.
    Unavailable,
    /// The receiver refused it for good.
    Rejected,
    /// The receiver did not accept the key.
    Unauthorized,
    /// Sent without an answer, where a second delivery is worse than none.
    InDoubt,
    /// Older than the receiver takes.
    Expired,
    /// The exporter panicked over it.
    Panicked,
    /// The exporter could not be made, or could not write it.
    Internal,
    /// The user may not be counted or followed.
    NoConsent,
    /// The receiver turned the sink off.
    Disabled,
    /// It came after the shutdown.
    Shutdown,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::QueueFull,
        Self::TooLarge,
        Self::RateLimited,
        Self::Network,
        Self::Unavailable,
        Self::Rejected,
        Self::Unauthorized,
        Self::InDoubt,
        Self::Expired,
        Self::Panicked,
        Self::Internal,
        Self::NoConsent,
        Self::Disabled,
        Self::Shutdown,
    ];

    /// The reason as a label value, such as `queue_full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Network => "network",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::InDoubt => "in_doubt",
            Self::Expired => "expired",
            Self::Panicked => "panicked",
            Self::Internal => "internal",
            Self::NoConsent => "no_consent",
            Self::Disabled => "disabled",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something failed, for people: scrubbed, one line, at most 256 bytes.
///
/// # Examples
/// ```
/// use steeple_export::Reason;
///
/// assert_eq!(Reason::from("no such index").as_str(), "no such index");
/// assert_eq!(Reason::scrub("bad\nkey, password=hunter2").as_str(), "bad key, password=[redacted:key]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Scrubbed<Cow<'static, str>>);

impl Reason {
    /// Scrubs a text that a receiver or an error wrote. Longer texts are cut, line breaks become spaces.
    pub fn scrub(text: &str) -> Self {
        // A secret that this cuts in half lies beyond the part that is kept.
        let head = steeple_core::text::cut(text, MAX_REASON.saturating_mul(16));
        let line: String = head.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(Scrubber::default().text(&line).cut(MAX_REASON, "…").into_owned().into())
    }

    /// Scrubs an error and its sources.
    pub fn of_error(error: &(dyn std::error::Error + 'static)) -> Self {
        let chain = Scrubber::default().error_chain(error);
        Self::scrub(&chain)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self(Scrubbed::from_static(text).into())
    }
}

impl From<Scrubbed<String>> for Reason {
    fn from(text: Scrubbed<String>) -> Self {
        // Scrubbing is idempotent; this adds the bounds.
        Self::scrub(&text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
