#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod app;
mod append;
#[cfg(feature = "axum")]
mod axum;
mod builder;
mod client;
mod collectors;
mod core;
mod encode;
mod error;
mod family;
mod folded;
mod grpc;
mod http;
mod idle;
pub mod indicator;
mod layout;
mod metrics;
mod names;
mod objective;
mod observer;
#[cfg(feature = "otel")]
mod opentelemetry;
mod os;
mod own_labels;
pub mod prometheus;
#[cfg(feature = "push")]
pub mod push;
mod registry;
mod render;
mod route;
mod rules;
mod series;
mod shard;
pub mod state;
mod table;

pub use steeple_core::ApdexZone;

#[cfg(feature = "sqlx")]
pub use self::app::sqlx::SqlxLayer;
pub use self::{
    app::{
        cache::{Cache, CacheOperation, CacheResult},
        connections::Connections,
        database::{Database, QueryTimer},
        watcher::Operation,
    },
    builder::MetricsBuilder,
    client::{ClientCall, ClientCalls},
    collectors::Collector,
    core::Measure,
    error::BuildError,
    family::{Counter, CounterFamily, DurationFamily, DurationSeries, GaugeFamily, GaugeGuard, SizeFamily, Timer},
    grpc::GrpcType,
    layout::Buckets,
    metrics::{Metrics, WeakMetrics},
    names::Names,
    objective::Objective,
    observer::MetricsState,
    registry::Registry,
    render::Rendered,
    route::RouteMetrics,
    rules::Rules,
};
