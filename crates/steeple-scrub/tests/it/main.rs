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
mod draw;
mod filter;
mod forms;
