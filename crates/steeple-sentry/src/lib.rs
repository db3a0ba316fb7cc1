#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod bound;
mod builder;
mod carried;
mod check_in;
mod context;
mod counts;
mod dedup;
mod error;
mod event;
mod flush;
mod gate;
mod head;
mod hub;
mod integration;
mod job;
mod limit;
mod outlet;
mod panic_hook;
mod panicked;
mod propagate;
mod report;
mod sampling;
mod scrub;
mod sentry;
mod session;
mod slot;
#[cfg(feature = "sentry-tower")]
mod tower;
mod transaction;

pub use sentry_core::{Breadcrumb, Level, protocol::Value};
pub use steeple_core::User;
#[cfg(feature = "transport")]
pub use steeple_export::{ClientBuilder, ProxyOptions};
pub use steeple_export::{DropReason, Retry, Stats};

#[cfg(feature = "sentry-tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "sentry-tower")))]
pub use self::tower::{ScrubbedHubs, ScrubbedSentryLayer};
pub use self::{
    api::{
        ErrorContext, add_breadcrumb, breadcrumb, capture_error, capture_error_with, capture_message, in_span,
        set_extra, set_tag, set_transaction, set_user,
    },
    builder::SentryBuilder,
    carried::{Carried, InExchange},
    check_in::{CheckIn, JobFailures, JobState},
    counts::Counts,
    error::BuildError,
    flush::FlushGuard,
    integration::ScrubIntegration,
    propagate::propagate,
    report::Report,
    sampling::Parent,
    scrub::{ScrubSentry, ScrubbingTransport},
    sentry::{Sentry, Watched},
};
