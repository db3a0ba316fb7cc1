//! One log line per exchange, and the request's ids on every line that its handler logs.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod encode;
mod error;
mod event;
mod filter;
mod layer;
mod observer;
mod options;
mod output;
mod setup;
mod sink;

pub use self::{
    encode::Format,
    error::InitError,
    event::{log_error, log_event},
    layer::LogLayer,
    observer::{Log, LogState},
    options::{LogOptions, OptionsError, RouteOptions},
    output::{LogHandle, Losses},
    setup::{LogGuard, Logging, init},
    sink::Rotation,
};
