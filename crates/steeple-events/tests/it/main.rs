//! Events over real HTTP: what each system gets, joined with the request that caused it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

mod cli;
mod clock;
mod consent;
mod context;
mod cost;
mod dead_letters;
mod docs;
mod elasticsearch;
mod hold;
mod joined;
#[cfg(unix)]
mod killed;
mod load;
mod outbox;
mod receiver;
mod retries;
mod secrets;
#[cfg(unix)]
mod terminated;
