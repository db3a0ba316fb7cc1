//! Doubles and helpers shared by the integration tests.
//!
//! [`lab`] is a service with an address for every way in which an exchange can end, [`server`] puts a service on a
//! loopback socket, [`stack`] is
//! what a team puts around it, [`client`] talks to it over HTTP/1.1 or HTTP/2 and hangs up where it is told to, [`peer`] finds
//! and runs other people's servers and tools. [`board`] is the examples' task board behind the facade; [`bugsink`] and [`otlp`]
//! read what it sends.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: a test that panics is a test that failed"
)]

pub mod board;
pub mod bugsink;
pub mod client;
pub mod grpc;
pub mod lab;
pub mod mixed;
pub mod otlp;
pub mod page;
pub mod peer;
pub mod process;
pub mod server;
pub mod service;
pub mod settle;
pub mod stack;
pub mod trouble;

/// The code on the pages of `docs/` that needs features which the examples do not have, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/alerts.md")]
#[doc = include_str!("../../docs/aws.md")]
#[doc = include_str!("../../docs/dashboard.md")]
#[doc = include_str!("../../docs/events.md")]
#[doc = include_str!("../../docs/grpc.md")]
#[doc = include_str!("../../docs/migrate-axum-prometheus.md")]
#[doc = include_str!("../../docs/migrate-sentry-tower.md")]
#[doc = include_str!("../../docs/migrate-tower-http.md")]
#[doc = include_str!("../../docs/own-opentelemetry.md")]
#[doc = include_str!("../../docs/own-sentry.md")]
pub struct Docs;
