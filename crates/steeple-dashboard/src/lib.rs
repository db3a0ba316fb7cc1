#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "the gate, the stream and the fleet are those of the router")
)]

mod about;
mod access;
mod assets;
mod builder;
mod dashboard;
mod data;
mod deploys;
mod error;
#[cfg(feature = "prometheus")]
mod fleet;
mod frame;
mod grafana;
mod lock;
mod panels;
mod requests;
mod seams;
mod timing;
#[cfg(feature = "axum")]
mod web;

#[cfg(feature = "prometheus")]
pub use self::fleet::PrometheusOptions;
pub use self::{
    access::Access,
    builder::DashboardBuilder,
    dashboard::Dashboard,
    data::{Business, Figure, Level, RealTime, RouteRow, SystemHealth, Trend},
    error::BuildError,
    grafana::Grafana,
    requests::{RequestLists, RequestRecord, Requests},
    seams::{DeadLetter, LogControl, LogLevel, Outbox, OutboxSink, SpanRecord, TraceSource},
    timing::TimingOptions,
};
