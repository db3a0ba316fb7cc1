#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alerts;
pub mod channel;
pub mod engine;
mod error;
pub mod message;
pub mod normalize;
mod observer;
pub mod patterns;
mod rule;
mod rules;
mod severity;

pub use self::{
    alerts::{Alerts, AlertsBuilder, RuleStatus, Silence},
    channel::{Channel, ChannelContext, IntoChannel},
    error::BuildError,
    observer::AlertsObserver,
    patterns::Failure,
    rule::Rule,
    rules::Rules,
    severity::{ParseSeverityError, Severity},
};
