//! What the page shows, as types.

mod business;
mod columns;
mod health;
mod num;
mod real_time;

#[cfg(feature = "prometheus")]
pub(crate) use self::num::Num;
pub(crate) use self::{business::Ledger, columns::Columns, real_time::Watches};
pub use self::{
    business::{Business, Figure},
    health::{Level, SystemHealth},
    real_time::{RealTime, RouteRow, Trend},
};
