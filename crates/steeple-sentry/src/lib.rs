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
mod transaction;

pub use sentry_core::Level;
pub use steeple_core::User;
#[cfg(feature = "transport")]
pub use steeple_export::{ClientBuilder, ProxyOptions};
pub use steeple_export::{DropReason, Retry, Stats};

pub use self::{
    api::{breadcrumb, capture_error, capture_message, in_span, set_extra, set_tag, set_transaction, set_user},
    builder::SentryBuilder,
    carried::{Carried, InExchange},
    check_in::{CheckIn, JobFailures, JobState},
    counts::Counts,
    error::BuildError,
    flush::FlushGuard,
    propagate::propagate,
    report::Report,
    sampling::Parent,
    scrub::{ScrubSentry, ScrubbingTransport},
    sentry::{Sentry, Watched},
};
