//! The task board over real sockets.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

#[cfg(target_os = "linux")]
mod alerts;
#[cfg(target_os = "linux")]
mod events;
mod full_disk;
mod grpc;
mod lab;
#[cfg(unix)]
mod panics;
mod process;
mod program;
mod quickstarts;
mod readme;
mod rest;
mod service;
mod settings;
mod traffic;
mod watched;
