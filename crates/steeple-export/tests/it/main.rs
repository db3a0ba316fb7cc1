//! Pipelines against real receivers on loopback, and the store on disk.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod first;
mod network;
mod secrets;
#[cfg(unix)]
mod spool;
#[cfg(unix)]
mod spool_counts;
#[cfg(unix)]
mod spool_crash;
#[cfg(unix)]
mod spool_damage;
#[cfg(target_os = "linux")]
mod spool_full;
#[cfg(unix)]
mod spool_live;
