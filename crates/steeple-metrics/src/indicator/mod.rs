//! Measured values, at one moment or over time: for alert rules, dashboards and exporters inside of the process.
//!
//! - A [`Reading`] is all that the metrics know at one moment; [`Metrics::totals`](crate::Metrics::totals) is its cheap
//!   part.
//! - An [`Indicator`] over a [`Window`] is what alert rules, dashboards and Prometheus agree on.
//! - A [`History`] keeps the last day in fixed memory, and evaluates indicators that are watched.

mod definition;
mod families;
mod history;
mod latency;
pub(crate) mod promql;
mod reading;
mod resources;
mod today;

pub use self::{
    definition::{Indicator, Measure, Selector, Unit, Window},
    families::{Dropped, FamilyKind, FamilyReading, HistogramReading, SeriesReading, SeriesValue},
    history::{
        Clock, Frame, History, HistoryOptions, RouteFrame, RouteTrend, Sampled, Simulated, Subscription, Tier, Value,
        Viewer, Watched,
    },
    latency::Latency,
    promql::Promql,
    reading::{Aborted, CacheReading, Classes, Counts, Exemplar, Reading, RouteReading, Totals},
    resources::{Cpu, Disk, Memory, ResourceOptions, Resources},
    today::{DayTotal, Today},
};
pub(crate) use self::{
    latency::{Grid, Sum},
    resources::ResourceFamilies,
};
