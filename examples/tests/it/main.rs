//! The task board over real sockets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says so by panicking")]

mod grpc;
mod lab;
mod program;
mod rest;
mod service;
mod traffic;
