//! Pipelines against real receivers on loopback, and the store on disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod first;
mod network;
#[cfg(unix)]
mod spool;
#[cfg(unix)]
mod spool_crash;
#[cfg(target_os = "linux")]
mod spool_full;
#[cfg(unix)]
mod spool_live;
