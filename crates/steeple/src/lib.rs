#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "serve"),
    expect(dead_code, reason = "time limits, tasks and addresses are those of `serve`")
)]

#[cfg(feature = "axum")]
mod axum;
mod builder;
mod client;
mod env;
mod error;
mod health;
#[expect(clippy::allow_attributes, reason = "which parts are used depends on the features")]
#[allow(dead_code, reason = "what one integration uses, another does not")]
mod integrations;
mod jobs;
mod layer;
mod logging;
mod options;
mod own_metrics;
#[cfg_attr(not(feature = "push"), path = "pushes_off.rs")]
mod pushes;
mod request_span;
#[cfg(feature = "serve")]
pub mod serve;
mod shutdown;
#[expect(clippy::allow_attributes, reason = "which parts are used depends on the features")]
#[allow(dead_code, reason = "without integrations nothing is sent")]
mod sink;
mod skips;
mod state;
mod steeple;
mod summary;
pub mod testing;
#[cfg(feature = "tower-http")]
pub mod tower_http;

pub use steeple_core::{
    Exchange, ObserveLayer, Observer, Outcome, RecordedError, RequestId, RouteError, RouteLayer, RouteOptions, Signal,
    TransactionName, User,
};
#[cfg(feature = "axum")]
pub use steeple_user::{ClientAddress, CurrentUser};

pub use self::{
    builder::SteepleBuilder,
    client::{CallObservers, ClientLayer},
    error::ConfigError,
    integrations::{Observers, crates::*},
    jobs::{Consumer, ConsumerLayer, Job, JobObservers},
    layer::SteepleLayer,
    shutdown::Shutdown,
    steeple::{FlushReport, Steeple},
};
