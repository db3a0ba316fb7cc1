//! Finds and removes secrets from headers, URLs, JSON and free text. Knows no tower.
//!
//! One [`Scrubber`] serves every sink. It replaces each secret whole, and gives the reason:
//!
//! ```text
//! in:  GET /cb?code=4/0AX4XfWh1k9Zq7Lm2N&page=2  password=hunter2  "token":"abc"
//! out: GET /cb?code=[redacted:entropy]&page=2  password=[redacted:key]  "token":"[redacted:key]"
//! ```
//!
//! # Surfaces
//!
//! | what | method | rules |
//! | --- | --- | --- |
//! | log messages, panics, SQL | [`text`](Scrubber::text) | looks, and names in `name=value`, `"name": "value"`, `("name", "value")`, `--name value`, `<name>` |
//! | error chains | [`error_chain`](Scrubber::error_chain) | the same |
//! | log fields, tags, attributes | [`field`](Scrubber::field) | the name, then as text |
//! | queries, forms | [`query`](Scrubber::query), [`form`](Scrubber::form) | names and values, decoded; values are removed whole |
//! | paths | [`path`](Scrubber::path) | segments, decoded; they are removed whole |
//! | targets, URLs | [`uri`](Scrubber::uri), [`url`](Scrubber::url) | user, path, query, fragment |
//! | headers | [`header`](Scrubber::header), [`headers`](Scrubber::headers) | allow list, deny list, sensitive marks, then by kind |
//! | cookies | [`cookies`](Scrubber::cookies) | by name |
//! | JSON | `json`, with the feature of that name | members by name, then by look |
//!
//! [`explain`](Scrubber::explain) prints the policy, [`dry_run`](Scrubber::dry_run) what a sink would see of a given request.
//!
//! # Bounds
//!
//! Built-in rules need no cap: their time is linear in the input, and they do not recurse. Escapes are undone three layers deep. A key is
//! judged by its first and last 64 bytes, the randomness of a value by its first 512. A value is found within 256 bytes of its name. The
//! 256th match of a configured pattern removes the rest of a text.
//!
//! # Examples
//!
//! ```
//! use steeple_scrub::Scrubber;
//!
//! let scrubber = Scrubber::default();
//! assert_eq!(scrubber.text("Authorization: Bearer abcdef0123456789"), "Authorization: [redacted:key]");
//! assert_eq!(scrubber.text("listening on 0.0.0.0:8080"), "listening on 0.0.0.0:8080");
//! ```
//!
//! With a configured policy:
//!
//! ```
//! use steeple_scrub::{EmailPolicy, Scrubber};
//!
//! let scrubber = Scrubber::builder().deny_keys(["iban_holder"]).email(EmailPolicy::Keep).build()?;
//! assert_eq!(scrubber.field("iban-holder", "Alice"), "[redacted:key]");
//! assert_eq!(scrubber.text("mail to support@shop.example"), "mail to support@shop.example");
//! # Ok::<(), steeple_scrub::BuildError>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod allow;
mod builder;
mod classes;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
#[path = "../test-util/corpus/mod.rs"]
pub mod corpus;
mod detect;
mod error;
mod explain;
mod header;
#[cfg(feature = "json")]
mod json;
mod judge;
mod marker;
mod memo;
mod name;
mod policy;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
#[path = "../test-util/property.rs"]
pub mod property;
mod scan;
mod scrubbed;
mod scrubber;
mod splice;
mod text;
mod url;
mod view;

pub use self::{
    builder::ScrubberBuilder,
    error::BuildError,
    explain::{DryRun, Explanation},
    header::{HeaderVerdict, HideReason},
    memo::Recalled,
    policy::EmailPolicy,
    scrubbed::Scrubbed,
    scrubber::Scrubber,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
