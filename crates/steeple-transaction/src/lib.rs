#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod descriptor;
mod error;
mod methods;
mod naming;
mod pattern;
pub mod report;
mod rules;

pub use steeple_core::{NameSource, TransactionName};

pub use self::{
    descriptor::GrpcMethod,
    error::BuildError,
    naming::{Naming, NamingState},
    pattern::Pattern,
    report::{ReportRoute, ReportRouteLayer},
    rules::NamingBuilder,
};
