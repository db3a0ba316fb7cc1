//! What is measured: an Axum service called in process, with a browser's requests, read to the last byte.
//!
//! 49 `GET /users/{id}`, 13 `POST /orders` and 2 unmatched of 64. Building a request is not measured; dropping it and
//! reading the response's body to its end are.

#![expect(clippy::arithmetic_side_effects, reason = "what measures may panic: nobody's request ends with it")]

pub mod output;
#[cfg(feature = "peers")]
pub mod peers;
pub mod picture;
pub mod rows;
pub mod shapes;
pub mod socket;
pub mod stacks;
pub mod targets;
pub mod timing;
pub mod tracking;
pub mod work;
pub mod workload;
