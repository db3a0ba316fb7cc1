#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod client;
mod env;
mod error;
mod health;
mod integration;
mod logging;
mod own_metrics;
#[cfg(feature = "axum")]
mod routes;
#[cfg(feature = "axum")]
pub mod serve;
mod steeple;

pub use steeple_core::{
    Exchange, ObserveLayer, Observer, Outcome, RecordedError, RequestId, Signal, TransactionName, User,
};
#[cfg(feature = "axum")]
pub use steeple_user::{ClientAddress, CurrentUser};
pub use {
    steeple_core as core, steeple_log as log, steeple_metrics as metrics, steeple_scrub as scrub,
    steeple_transaction as transaction, steeple_user as user,
};

#[cfg(feature = "sentry")]
pub use steeple_sentry as sentry;
#[cfg(feature = "trace")]
pub use steeple_trace as trace;

pub use self::{
    builder::{Builder, Observers},
    client::{CallObservers, ClientLayer},
    error::ConfigError,
    integration::{Errors, Traces},
    steeple::Steeple,
};
