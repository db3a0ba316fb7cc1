#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod error;
mod event;
mod events;
#[cfg(feature = "axum")]
mod extract;
pub mod name;
mod observer;
mod outlet;
mod pending;
pub mod preset;
mod record;
mod service;
pub mod sink;
mod stats;
mod visitor;

pub use self::{
    builder::{EventsBuilder, IntoOutlet, SinkContext},
    error::BuildError,
    event::{Class, Counter, Event, Labels, Meter, Role},
    events::{Events, MAX_NAMED, Receipt},
    observer::{EventsObserver, set_consent},
    outlet::{Outlet, Takes},
    record::{MAX_KEY_BYTES, MAX_PROPERTIES, MAX_PROPERTIES_BYTES, MAX_TEXT_BYTES, Outgoing, Tracked},
    service::Service,
    stats::{EventStats, Rejected},
    visitor::{Consent, Visitor},
};
