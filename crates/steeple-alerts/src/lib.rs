#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod about;
mod alerts;
mod builder;
pub mod channel;
pub mod engine;
mod error;
mod evidence;
#[cfg(feature = "file")]
pub mod file;
pub mod message;
mod millis;
pub mod normalize;
mod observer;
pub mod patterns;
mod prometheus;
mod replace;
mod rule;
mod rules;
mod saved;
pub mod scenario;
mod severity;
mod watching;

pub use self::{
    alerts::{Alerts, RuleStatus, Silence},
    builder::AlertsBuilder,
    channel::{Channel, ChannelContext, IntoChannel},
    error::BuildError,
    observer::AlertsObserver,
    patterns::Failure,
    rule::Rule,
    rules::{MAX_RULES, Rules},
    severity::{ParseSeverityError, Severity},
};
