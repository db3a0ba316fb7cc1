#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
#[cfg(feature = "axum")]
mod axum;
mod encode;
mod error;
mod folded;
mod grpc;
mod http;
mod layout;
mod metrics;
mod names;
mod objective;
mod observer;
mod registry;
mod render;
mod route;
mod series;
mod shard;
mod table;

pub use self::{
    error::BuildError,
    grpc::GrpcType,
    layout::Buckets,
    metrics::{Measure, Metrics, MetricsBuilder},
    names::Names,
    objective::Objective,
    observer::MetricsState,
    render::Rendered,
    route::{RouteLayer, RouteMetrics, RouteOptions, RouteService},
};
