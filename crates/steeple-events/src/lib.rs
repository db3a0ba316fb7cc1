#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod axum;
mod builder;
mod dead;
mod error;
mod event;
mod events;
#[cfg(feature = "outbox")]
mod hold;
mod hold_response;
pub mod name;
mod observer;
#[cfg(feature = "outbox")]
mod outbox;
mod outlet;
mod page_view;
mod pending;
mod person;
pub mod preset;
mod receipt;
mod record;
#[cfg(feature = "outbox")]
mod secret;
mod service;
mod settling;
pub mod sink;
mod stats;
#[cfg(feature = "outbox")]
mod stored;
mod view;
mod visitor;

#[cfg(feature = "outbox")]
pub use self::hold::erase_key;
pub use self::{
    builder::{EventsBuilder, IntoOutlet, SinkContext},
    dead::DeadEvent,
    error::BuildError,
    event::{Class, Counter, Event, Labels, Meter, Role},
    events::{Events, MAX_NAMED},
    hold_response::{AtTimeout, HoldResponse, HoldResponseLayer},
    observer::{EventsObserver, set_consent},
    outlet::{Outlet, OutletStats, Takes},
    page_view::PageRequest,
    person::Person,
    receipt::{NotStored, Receipt},
    record::{MAX_KEY_BYTES, MAX_PROPERTIES, MAX_PROPERTIES_BYTES, MAX_TEXT_BYTES, Outgoing, Tracked},
    service::Service,
    stats::{EventStats, Rejected},
    view::{MAX_DEAD_LETTERS, OutboxView},
    visitor::{Consent, Visitor},
};
