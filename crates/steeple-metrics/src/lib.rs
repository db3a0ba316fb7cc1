#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
#[cfg(feature = "axum")]
mod axum;
mod beyond;
mod client;
mod collectors;
mod encode;
mod error;
mod family;
mod folded;
mod grpc;
mod http;
pub mod indicator;
mod layout;
mod metrics;
mod names;
mod objective;
mod observer;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "push")]
pub mod push;
mod registry;
mod render;
mod route;
mod rules;
mod series;
mod shard;
mod snapshot;
pub mod state;
mod table;

#[cfg(feature = "sqlx")]
pub use self::beyond::sqlx::SqlxLayer;
pub use self::{
    beyond::{
        business::Business,
        cache::{Cache, CacheOperation},
        connections::Connections,
        database::{Database, QueryTimer},
    },
    client::{ClientCall, ClientCalls},
    error::BuildError,
    family::{Counter, CounterFamily, DurationFamily, DurationSeries, GaugeFamily, GaugeGuard, SizeFamily, Timer},
    grpc::GrpcType,
    layout::Buckets,
    metrics::{Measure, Metrics, MetricsBuilder},
    names::Names,
    objective::Objective,
    observer::MetricsState,
    render::Rendered,
    route::{RouteLayer, RouteMetrics, RouteOptions, RouteService},
    rules::Rules,
    snapshot::{RouteSnapshot, Snapshot, Window},
};
