//! What Prometheus is asked: the queries of the panels that Grafana gets, and nothing that comes from a request but numbers
//! and one escaped label.

use std::collections::BTreeMap;

use steeple_metrics::indicator::Indicator;

use super::{Grid, PrometheusOptions};
use crate::panels::{Style, panels};

/// One query.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) of: Of,
    pub(super) when: When,
    pub(super) expr: String,
}

/// For which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now,
    HourAgo,
    NowAndHourAgo,
    Chart,
}

/// What the answer is used for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// A column of the charts, and what its numbers are multiplied by.
    Column(&'static str, f64),
    /// A tile: now and an hour ago.
    Trend(&'static str),
    /// A column of the table of routes.
    Route(&'static str),
    Level(&'static str),
    Hour(&'static str),
    Day(&'static str),
    Replicas,
    Builds,
    Deploys,
    Firing,
}

/// Columns of the charts: panel, legend, the page's name, factor.
const COLUMNS: [(&str, &str, &str, f64); 17] = [
    ("requests", "2xx, 3xx", "ok", 1.0),
    ("requests", "4xx", "client_errors", 1.0),
    ("requests", "5xx", "server_errors", 1.0),
    ("requests", "aborted", "aborted", 1.0),
    ("requests_per_minute", "", "requests", 1.0 / 60.0),
    ("error_ratio", "", "error_ratio", 1.0),
    ("response_times", "p50", "p50", 1.0),
    ("response_times", "p95", "p95", 1.0),
    ("response_times", "p99", "p99", 1.0),
    ("response_times", "mean", "mean", 1.0),
    ("users", "users", "users", 1.0),
    ("users", "in flight", "in_flight", 1.0),
    ("resources", "CPU", "cpu", 1.0),
    ("resources", "throttled", "throttled", 1.0),
    ("resources", "memory", "memory", 1.0),
    ("resources", "disk", "disk", 1.0),
    ("system", "cache hits", "cache", 1.0),
];

/// Tiles: panel, legend, the page's name.
const TRENDS: [(&str, &str, &str); 8] = [
    ("active_users", "", "active_users"),
    ("requests_per_minute", "", "requests_per_minute"),
    ("error_ratio", "", "error_ratio"),
    ("response_times", "mean", "mean"),
    ("response_times", "p50", "p50"),
    ("response_time", "", "p95"),
    ("response_times", "p99", "p99"),
    ("in_flight", "", "in_flight"),
];

const LEVELS: [(&str, &str, &str); 6] = [
    ("system", "CPU", "cpu"),
    ("resources", "throttled", "throttled"),
    ("system", "memory", "memory"),
    ("system", "disk", "disk"),
    ("system", "database connections", "connections"),
    ("system", "cache hits", "cache_hit_ratio"),
];

const BUSINESS: [(&str, &str); 6] = [
    ("new users", "new_users"),
    ("projects created", "projects_created"),
    ("tasks completed", "tasks_completed"),
    ("failed payments", "payments_failed"),
    ("conversions for each new user", "conversion"),
    ("revenue in minor units, {{currency}}", "revenue"),
];

/// The queries of the panels by panel and legend.
struct Panels(BTreeMap<(&'static str, &'static str), String>);

impl Panels {
    fn new(style: &Style) -> Self {
        let queries = panels(style).into_iter().flat_map(|panel| {
            let id = panel.id;
            panel.queries.into_iter().map(move |query| ((id, query.legend), query.expr))
        });
        Self(queries.collect())
    }

    fn get(&self, panel: &'static str, legend: &'static str) -> String {
        self.0.get(&(panel, legend)).cloned().unwrap_or_default()
    }
}

fn style(options: &PrometheusOptions, replica: Option<&str>, rate: u64, range: &str) -> Style {
    Style {
        names: options.names,
        native: options.native,
        matchers: options.select(replica),
        rate: format!("[{rate}s]"),
        range: range.to_owned(),
    }
}

/// All that the page is drawn from.
pub(super) fn questions(options: &PrometheusOptions, replica: Option<&str>, grid: Grid) -> Vec<Question> {
    let shortest = options.scrape_seconds().saturating_mul(4);
    let chart = style(options, replica, shortest.max(grid.step), "[1h]");
    let mut all: Vec<Question> = columns(&chart);
    let ask = |of, when, expr| Question { of, when, expr };

    let minute = Panels::new(&style(options, replica, shortest.max(60), "[1h]"));
    all.extend(
        TRENDS.map(|(panel, legend, name)| ask(Of::Trend(name), When::NowAndHourAgo, minute.get(panel, legend))),
    );
    all.extend(LEVELS.map(|(panel, legend, name)| ask(Of::Level(name), When::Now, minute.get(panel, legend))));
    all.extend(BUSINESS.map(|(legend, name)| ask(Of::Hour(name), When::Now, minute.get("business", legend))));
    let day = Panels::new(&style(options, replica, shortest.max(60), "[1d]"));
    all.extend(BUSINESS.map(|(legend, name)| ask(Of::Day(name), When::Now, day.get("business", legend))));
    all.push(ask(Of::Firing, When::Now, minute.get("alerts", "")));

    let lately = style(options, replica, shortest.max(300), "[1h]");
    let labels = lately.route_labels();
    let rate = lately.by(&Indicator::rate(), labels);
    let p95 = lately.by(&Indicator::quantile(0.95), labels);
    for (name, when, expr) in [
        ("rate", When::Now, format!("topk(200, {rate})")),
        ("error_ratio", When::Now, lately.by(&Indicator::error_ratio(), labels)),
        ("client_errors", When::Now, lately.statuses_by("4..", labels)),
        ("p50", When::Now, lately.by(&Indicator::quantile(0.5), labels)),
        ("p95", When::Now, p95.clone()),
        ("rate_hour_ago", When::HourAgo, format!("topk(200, {rate})")),
        ("p95_hour_ago", When::HourAgo, p95),
    ] {
        all.push(ask(Of::Route(name), when, expr));
    }

    // Which instances there are does not depend on the one that is looked at.
    let started = format!("max by (instance) ({})", named("process_start_time_seconds", &options.select(None)));
    all.push(ask(Of::Replicas, When::Now, started));
    let builds = format!("max by (instance, version) ({})", named("build_info", &options.select(None)));
    all.push(ask(Of::Builds, When::Now, builds));
    let starts = named("process_start_time_seconds", &options.select(replica));
    let builds = named("build_info", &options.select(replica));
    let deploys = format!(
        "max by (instance, version) ({starts} * on (instance) group_left (version) {builds}) or max by (instance) ({starts})"
    );
    all.push(ask(Of::Deploys, When::Chart, deploys));
    all
}

/// The columns of the charts.
fn columns(style: &Style) -> Vec<Question> {
    let panels = Panels::new(style);
    let ask = |(panel, legend, name, factor)| Question {
        of: Of::Column(name, factor),
        when: When::Chart,
        expr: panels.get(panel, legend),
    };
    COLUMNS.into_iter().map(ask).collect()
}

/// What the past of one instance is filled from.
pub(super) fn past(options: &PrometheusOptions, replica: &str, grid: Grid) -> Vec<Question> {
    let rate = options.scrape_seconds().saturating_mul(4).max(grid.step);
    columns(&style(options, Some(replica), rate, "[1h]"))
}

/// The instances, and when each began.
pub(super) fn replicas(options: &PrometheusOptions) -> Question {
    let expr = format!("max by (instance) ({})", named("process_start_time_seconds", &options.select(None)));
    Question { of: Of::Replicas, when: When::Now, expr }
}

fn named(family: &str, matchers: &str) -> String {
    format!("{family}{{{matchers}}}")
}

#[cfg(test)]
mod tests {
    use steeple_metrics::Names;

    use super::*;

    #[test]
    fn every_number_of_the_page_comes_from_a_panels_query() {
        let grid = Grid { from: 0, to: 3600, step: 15 };
        for names in [Names::Classic, Names::OpenTelemetry] {
            for native in [false, true] {
                let options = PrometheusOptions::new("http://127.0.0.1").job("shop").names(names).native(native);
                for replica in [None, Some("10.0.0.1:80")] {
                    for question in questions(&options, replica, grid) {
                        let expr = &question.expr;
                        assert!(expr.contains("job=\"shop\""), "{question:?}");
                        assert!(!expr.contains('$') && !expr.contains("[5m]"), "{expr}");
                        let is_of_all = matches!(question.of, Of::Replicas | Of::Builds);
                        let has_replica = expr.contains("instance=\"10.0.0.1:80\"");
                        assert_eq!(has_replica, replica.is_some() && !is_of_all, "{expr}");
                    }
                }
            }
        }
    }
}
