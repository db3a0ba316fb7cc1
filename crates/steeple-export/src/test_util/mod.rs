//! The test that every pipeline passes: implement [`Subject`] for a protocol, and call [`check_all`]. For an exporter that does not
//! speak HTTP: [`ExporterSubject`] and [`check_exporter`], with its own receiver.
//!
//! It runs the protocol against a real HTTP receiver that is slow, full, hostile or gone, lets each hook panic, and holds every
//! item to exactly one count. Intervals are milliseconds; nothing is measured against a limit but hangs.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod check;
mod exporter;
mod receiver;
mod sabotage;

pub use self::{
    check::{Partial, Subject, check_all},
    exporter::{ExporterReceiver, ExporterSubject, Script, ScriptedReceiver, Turn, check_exporter},
    receiver::{Received, Receiver, Reply},
};
