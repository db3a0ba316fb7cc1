//! Rules in a TOML file: read when alerts are built, and again when it changes.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! # Tables
//! `start_from` is what the tables add to and change: `guarded` ([`Rules::mission`] with [guards](Rules::guarded)), `mission`,
//! `recommended` ([`Rules::recommended`]) or `none`. Default: the rules that are set in code, or else `guarded`.
//!
//! A table `[rules.NAME]` changes the rule of this name, or adds one, which needs `indicator` and `above` or `below`.
//!
//! | key | value | default of a new rule |
//! | --- | --- | --- |
//! | `enabled` | `false` leaves the rule out | `true` |
//! | `indicator` | see below | |
//! | `window` | the time over which it is measured, `"1s"` to `"24h"` | `"5m"` |
//! | `also_over` | a second, shorter window, in which it is beyond the threshold too | none |
//! | `above`, `below` | a number in the indicator's unit, or `"5%"`, `"1.5s"`, `"200ms"` | |
//! | `clear` | the same, on the good side of the threshold | the threshold |
//! | `for`, `keep_firing_for`, `min_uptime` | a duration | `"0s"` |
//! | `cooldown` | a duration | `"15m"` |
//! | `repeat` | the time until the first reminder, at least `"5m"` | `"4h"` |
//! | `min_samples`, `min_bad` | a whole number | 0 |
//! | `severity` | `low`, `medium`, `high` or `critical` | `medium` |
//! | `summary`, `runbook` | a text | |
//!
//! A duration is a text such as `"90s"`, `"5m"` or `"1h30m"`.
//!
//! | `indicator` | its other keys |
//! | --- | --- |
//! | `error_ratio`, `mean`, `rate` | `route` |
//! | `quantile` | `quantile` (0 to 1), `route` |
//! | `slow_ratio` | `target` (a duration), `route` |
//! | `aborted_ratio` | `outcome` (`cancelled`, `cancelled_in_body`, `service_error`, `body_error`, `panicked`), `route` |
//! | `cpu`, `cpu_throttled`, `memory`, `disk`, `connections`, `in_flight`, `active_users`, `cache_hit_ratio`, `dropped` | |
//! | `counter_rate`, `counter_increase`, `gauge` | `family`, `labels`, `labels_not` |
//! | `counter_ratio` | the same; the whole is all of the family |
//! | `histogram_quantile` | the same, and `quantile` |
//!
//! `route` is `"POST /checkout"`, or `"shop.v1.Shop/Pay"` for gRPC. Without it, all requests are measured.

mod error;
mod parse;
mod reloads;
mod watch;

use steeple_core::text::cut;

pub use self::error::FileError;
pub(crate) use self::{
    reloads::Reloads,
    watch::{Change, RuleFile},
};
use crate::{MAX_RULES, Rules};

/// The largest file that is read.
pub const MAX_BYTES: u64 = 64 * 1024;

/// What of somebody's text is shown.
fn shown(text: &str) -> String {
    format!("\"{}\"", cut(text, 40).escape_debug())
}

impl Rules {
    /// The rules of a file, see [`file`](self). `base` is what it starts from unless it sets another.
    ///
    /// # Errors
    /// Names the line, the key and the allowed values.
    pub fn from_toml(text: &str, base: &Self) -> Result<Self, FileError> {
        parse::parse(text, base)
    }
}
