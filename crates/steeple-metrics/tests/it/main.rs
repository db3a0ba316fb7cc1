//! Everything that can be seen from outside: exchanges through a service, pages read by others, pushes to real servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed; numbers are small and whole"
)]

mod apdex;
mod app;
mod append;
mod attack;
mod axum;
mod calls;
mod cost;
mod docs;
mod exactly_once;
mod formats;
mod history;
mod indicator;
mod labels;
mod messages;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "push")]
mod push;
mod resources;
mod rules;
mod state;
mod support;
mod today;
