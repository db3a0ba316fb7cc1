#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod carried;
mod counts;
mod error;
mod event;
mod flush;
mod head;
mod link;
mod options;
mod panic_hook;
mod pipeline;
mod propagate;
mod sampling;
mod scrub;
mod sentry;
mod session;
mod transaction;

pub use sentry_core::Level;
pub use steeple_core::User;

pub use self::{
    api::{breadcrumb, capture_error, capture_message, in_span, set_extra, set_tag, set_transaction, set_user},
    carried::{Carried, InExchange},
    counts::{Counts, Loss},
    error::OptionsError,
    flush::FlushGuard,
    options::SentryOptions,
    propagate::propagate,
    sampling::Parent,
    scrub::{ScrubSentry, ScrubbingTransport},
    sentry::{Sentry, Watched},
};
