//! Finds and removes secrets from headers, URLs, JSON and free text. Knows no tower.
//!
//! # Examples
//! ```
//! use steeple_scrub::Scrubber;
//!
//! let scrubber = Scrubber::default();
//! assert_eq!(scrubber.text("Authorization: Bearer abcdef0123456789"), "Authorization: [redacted:key]");
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod corpus;
mod detect;
mod error;
mod explain;
mod header;
#[cfg(feature = "json")]
mod json;
mod marker;
mod name;
mod policy;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod property;
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
    policy::EmailPolicy,
    scrubbed::Scrubbed,
    scrubber::Scrubber,
};
