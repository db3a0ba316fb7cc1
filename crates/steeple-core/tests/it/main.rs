//! Exchanges replayed in process: no socket, and no runtime but where one is the point.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that failed"
)]

mod calls;
mod current;
mod endings;
mod extract;
mod forwarding;
mod grpc;
mod model;
mod nesting;
mod observers;
mod panics;
mod replay;
mod request_ids;
