//! Everything that can be seen of spans from outside: with an exporter in memory, and with real receivers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod boards;
mod bounds;
mod client;
mod context;
mod diagnose;
mod export;
mod failures;
mod logs;
mod receiver;
mod secrets;
mod semconv;
mod spans;
mod support;
mod tail;
mod w3c;
mod wire;
