//! Rules, silences and groups of errors.

use steeple_dashboard::DashboardBuilder;

use crate::Steeple;

pub(super) fn add(steeple: &Steeple, options: DashboardBuilder) -> DashboardBuilder {
    match steeple.alerts() {
        Some(alerts) => options.alerts(alerts.clone()),
        None => options,
    }
}
