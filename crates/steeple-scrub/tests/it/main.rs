//! What scrubbing finds and what it leaves alone.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics is a test that failed; tables are the report; a variable asks for the long proof"
)]

mod cases;
#[cfg(all(feature = "test-util", feature = "json"))]
mod corpus;
mod cost;
mod draw;
mod false_positives;
mod filter;
mod forms;
mod named;
#[cfg(all(feature = "test-util", feature = "json"))]
mod properties;
mod surfaces;
