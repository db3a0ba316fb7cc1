#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "axum"), expect(dead_code, reason = "the gate and the stream are those of the router"))]

mod about;
mod access;
mod assets;
mod builder;
mod dashboard;
mod data;
mod error;
mod frame;
mod grafana;
mod lock;
mod panels;
mod requests;
mod timing;
#[cfg(feature = "axum")]
mod web;

pub use self::{
    access::Access,
    builder::DashboardBuilder,
    dashboard::Dashboard,
    data::{Business, Figure, Level, RealTime, RouteRow, SystemHealth, Trend},
    error::BuildError,
    grafana::Grafana,
    requests::{RequestLists, RequestRecord, Requests},
    timing::TimingOptions,
};
