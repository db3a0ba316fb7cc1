//! What the page shows and what a Grafana dashboard shows: one list for both.

use steeple_core::Outcome;
use steeple_metrics::{
    Names,
    indicator::{Indicator, Promql, Selector, Window},
};

/// What a panel looks like in Grafana.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One number.
    Stat,
    /// Lines over time.
    Lines,
    /// Areas on top of each other.
    Stacked,
    /// A table of the last values.
    Table,
    /// Bars from 0 to 1.
    Gauge,
    /// Counts in buckets over time.
    Heatmap,
}

/// The unit of a panel's numbers, as Grafana calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrafanaUnit {
    Short,
    Ratio,
    Seconds,
    PerSecond,
}

impl GrafanaUnit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Ratio => "percentunit",
            Self::Seconds => "s",
            Self::PerSecond => "reqps",
        }
    }
}

/// One panel.
#[derive(Debug)]
pub(crate) struct Panel {
    /// What the page calls it: `data-panel`. Those without one there are in [`ONLY_GRAFANA`].
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: GrafanaUnit,
    /// Above this value, it is red; above half of it, yellow.
    pub(crate) limit: Option<f64>,
    pub(crate) queries: Vec<Query>,
}

/// A query, and what its series are called.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) legend: &'static str,
    pub(crate) expr: String,
}

/// Parts of the page that show what Prometheus cannot know: single requests, and settings. The tiles are panels one by one.
#[cfg(test)]
pub(crate) const ONLY_PAGE: [&str; 4] = ["tiles", "requests", "activity", "settings"];

/// Panels that a page of one process has no room for.
#[cfg(test)]
pub(crate) const ONLY_GRAFANA: [&str; 2] = ["latency_distribution", "database_queries"];

/// Which names and histograms the server has, and how series are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) names: Names,
    pub(crate) native: bool,
    /// The matchers of every selector.
    pub(crate) matchers: String,
    /// The window of rates.
    pub(crate) rate: String,
    /// The window of increases.
    pub(crate) range: String,
}

impl Style {
    /// With Grafana's variables in place of labels, and windows that Grafana fits to the shown range.
    pub(crate) fn grafana() -> Self {
        Self {
            names: Names::Classic,
            native: false,
            matchers: "job=~\"$job\",instance=~\"$instance\"".to_owned(),
            rate: "[$__rate_interval]".to_owned(),
            range: "[$__range]".to_owned(),
        }
    }

    fn promql(&self) -> Promql {
        Promql::new().names(self.names).native(self.native).matchers(self.matchers.clone())
    }

    pub(crate) fn of(&self, indicator: &Indicator) -> String {
        over(&indicator.promql(Window::FIVE_MINUTES, &self.promql()), &self.rate)
    }

    pub(crate) fn by(&self, indicator: &Indicator, labels: [&str; 2]) -> String {
        over(&indicator.promql(Window::FIVE_MINUTES, &self.promql().by(labels)), &self.rate)
    }

    fn is_otel(&self) -> bool {
        self.names == Names::OpenTelemetry
    }

    /// Requests a second with these statuses.
    pub(crate) fn statuses(&self, pattern: &str) -> String {
        format!("sum({})", self.with_status(pattern))
    }

    /// The same by these labels.
    #[cfg(feature = "prometheus")]
    pub(crate) fn statuses_by(&self, pattern: &str, labels: [&str; 2]) -> String {
        format!("sum by ({}) ({})", labels.join(", "), self.with_status(pattern))
    }

    fn with_status(&self, pattern: &str) -> String {
        let (name, label) = if self.is_otel() {
            ("http_server_request_duration_seconds", "http_response_status_code")
        } else {
            ("http_requests_total", "status_code")
        };
        let (matchers, rate) = (format!("{},{label}=~\"{pattern}\"", self.matchers), &self.rate);
        match (self.is_otel(), self.native) {
            (true, true) => format!("histogram_count(rate({name}{{{matchers}}}{rate}))"),
            (true, false) => format!("rate({name}_count{{{matchers}}}{rate})"),
            (false, _) => format!("rate({name}{{{matchers}}}{rate})"),
        }
    }

    pub(crate) fn route_labels(&self) -> [&'static str; 2] {
        if self.is_otel() { ["http_request_method", "http_route"] } else { ["method", "route"] }
    }

    /// The increase of a counter over the shown range.
    fn increase(&self, counter: &str, labels: &str) -> String {
        let comma = if labels.is_empty() { "" } else { "," };
        format!("sum(increase({counter}{{{}{comma}{labels}}}{}))", self.matchers, self.range)
    }

    fn heatmap(&self) -> String {
        let Self { matchers, rate, .. } = self;
        let name =
            if self.is_otel() { "http_server_request_duration_seconds" } else { "http_request_duration_seconds" };
        if self.native {
            format!("sum(rate({name}{{{matchers}}}{rate}))")
        } else {
            format!("sum by (le) (increase({name}_bucket{{{matchers}}}{rate}))")
        }
    }

    fn database(&self) -> String {
        let Self { matchers, rate, .. } = self;
        let name = "database_query_duration_seconds";
        if self.native {
            format!("histogram_quantile(0.95, sum by (operation) (rate({name}{{{matchers}}}{rate})))")
        } else {
            format!("histogram_quantile(0.95, sum by (operation, le) (rate({name}_bucket{{{matchers}}}{rate})))")
        }
    }
}

/// Puts another window in place of the one that an expression was written with.
fn over(expr: &str, window: &str) -> String {
    expr.replace("[5m]", window)
}

/// All panels, in the order of the page.
pub(crate) fn panels(style: &Style) -> Vec<Panel> {
    [tiles(style), charts(style), tables(style), levels(style), only_grafana(style)].into_iter().flatten().collect()
}

const fn query(legend: &'static str, expr: String) -> Query {
    Query { legend, expr }
}

fn stat(
    id: &'static str,
    title: &'static str,
    description: &'static str,
    unit: GrafanaUnit,
    limit: Option<f64>,
    expr: String,
) -> Panel {
    Panel { id, title, description, kind: Kind::Stat, unit, limit, queries: vec![query("", expr)] }
}

const fn lines(
    id: &'static str,
    title: &'static str,
    description: &'static str,
    kind: Kind,
    unit: GrafanaUnit,
    queries: Vec<Query>,
) -> Panel {
    Panel { id, title, description, kind, unit, limit: None, queries }
}

/// The five numbers.
fn tiles(style: &Style) -> Vec<Panel> {
    vec![
        stat(
            "active_users",
            "Active users",
            "Distinct users of the last minutes; of several instances, the sum.",
            GrafanaUnit::Short,
            None,
            style.of(&Indicator::active_users()),
        ),
        stat(
            "requests_per_minute",
            "Requests a minute",
            "Requests and gRPC calls that ended.",
            GrafanaUnit::Short,
            None,
            format!("{} * 60", style.of(&Indicator::rate())),
        ),
        stat(
            "error_ratio",
            "Error rate",
            "The part of the requests that failed for a reason on the server's side.",
            GrafanaUnit::Ratio,
            Some(0.05),
            style.of(&Indicator::error_ratio()),
        ),
        stat(
            "response_time",
            "Response time, p95",
            "The response time that 95 % of the requests did not exceed.",
            GrafanaUnit::Seconds,
            Some(2.0),
            style.of(&Indicator::quantile(0.95)),
        ),
        stat(
            "in_flight",
            "In flight",
            "Requests that have begun and not ended.",
            GrafanaUnit::Short,
            None,
            style.of(&Indicator::in_flight()),
        ),
    ]
}

/// The four charts.
fn charts(style: &Style) -> Vec<Panel> {
    let indicator = |legend, indicator: Indicator| query(legend, style.of(&indicator));
    vec![
        lines(
            "requests",
            "Requests a second",
            "Requests by the class of their status. Aborted are those whose client went away.",
            Kind::Stacked,
            GrafanaUnit::PerSecond,
            vec![
                query("2xx, 3xx", style.statuses("[23]..")),
                query("4xx", style.statuses("4..")),
                query("5xx", style.statuses("5..")),
                query("aborted", {
                    let ratio = style.of(&Indicator::aborted_ratio(Outcome::Cancelled));
                    format!("({ratio}) * {}", style.of(&Indicator::rate()))
                }),
            ],
        ),
        lines(
            "response_times",
            "Response time",
            "Quantiles of all requests. The dots are single requests: they lead to their trace.",
            Kind::Lines,
            GrafanaUnit::Seconds,
            vec![
                indicator("p50", Indicator::quantile(0.5)),
                indicator("p95", Indicator::quantile(0.95)),
                indicator("p99", Indicator::quantile(0.99)),
                indicator("mean", Indicator::mean()),
            ],
        ),
        lines(
            "users",
            "Active users and requests in flight",
            "Of several instances, the sum.",
            Kind::Lines,
            GrafanaUnit::Short,
            vec![indicator("users", Indicator::active_users()), indicator("in flight", Indicator::in_flight())],
        ),
        lines(
            "resources",
            "Of the limits",
            "Of the limits of the container, or else of the machine; of several instances, the fullest.",
            Kind::Lines,
            GrafanaUnit::Ratio,
            vec![
                indicator("CPU", Indicator::cpu()),
                indicator("throttled", Indicator::cpu_throttled()),
                indicator("memory", Indicator::memory()),
                indicator("disk", Indicator::disk()),
            ],
        ),
    ]
}

/// The parts below the charts.
fn tables(style: &Style) -> Vec<Panel> {
    let routes = style.route_labels();
    let revenue = Selector::new("revenue_minor_units_total");
    vec![
        lines(
            "routes",
            "Top routes",
            "Requests a second, error rate and p95 of the busiest routes.",
            Kind::Table,
            GrafanaUnit::Short,
            vec![
                query("requests", format!("topk(20, {})", style.by(&Indicator::rate(), routes))),
                query("error rate", format!("{} > 0", style.by(&Indicator::error_ratio(), routes))),
                query("p95", style.by(&Indicator::quantile(0.95), routes)),
            ],
        ),
        lines(
            "errors",
            "Errors by route",
            "Requests a second that failed for a reason on the server's side.",
            Kind::Lines,
            GrafanaUnit::PerSecond,
            vec![query(
                if style.is_otel() { "{{http_request_method}} {{http_route}}" } else { "{{method}} {{route}}" },
                format!(
                    "({}) * ({}) > 0",
                    style.by(&Indicator::error_ratio(), routes),
                    style.by(&Indicator::rate(), routes)
                ),
            )],
        ),
        lines(
            "business",
            "Business, in the shown time",
            "Counted by events: steeple_events has a preset for each.",
            Kind::Stat,
            GrafanaUnit::Short,
            vec![
                query("new users", style.increase("user_registrations_total", "")),
                query("projects created", style.increase("projects_created_total", "")),
                query("tasks completed", style.increase("tasks_completed_total", "")),
                query("failed payments", style.increase("payments_total", "result=\"failed\"")),
                query(
                    "conversions for each new user",
                    format!(
                        "{} / {}",
                        style.increase("conversions_total", ""),
                        style.increase("user_registrations_total", "")
                    ),
                ),
                query(
                    "revenue in minor units, {{currency}}",
                    Indicator::counter_increase(revenue)
                        .promql(Window::FIVE_MINUTES, &style.promql().by(["currency"]))
                        .replace("[5m]", &style.range),
                ),
            ],
        ),
    ]
}

/// Resources, losses and errors.
fn levels(style: &Style) -> Vec<Panel> {
    let indicator = |legend, indicator: Indicator| query(legend, style.of(&indicator));
    vec![
        lines(
            "system",
            "System",
            "The used share of the available resources.",
            Kind::Gauge,
            GrafanaUnit::Ratio,
            vec![
                indicator("CPU", Indicator::cpu()),
                indicator("memory", Indicator::memory()),
                indicator("disk", Indicator::disk()),
                indicator("database connections", Indicator::connections()),
                indicator("cache hits", Indicator::cache_hit_ratio()),
            ],
        ),
        lines(
            "losses",
            "Losses",
            "Items a second that sinks did not deliver.",
            Kind::Lines,
            GrafanaUnit::Short,
            vec![indicator("dropped", Indicator::dropped())],
        ),
        lines(
            "alerts",
            "Firing alerts",
            "Alerts of the rules in rules.yml.",
            Kind::Table,
            GrafanaUnit::Short,
            vec![query("", format!("ALERTS{{alertstate=\"firing\",{}}}", style.matchers))],
        ),
    ]
}

/// What a page of one process has no room for.
fn only_grafana(style: &Style) -> Vec<Panel> {
    vec![
        lines(
            "latency_distribution",
            "Distribution of response times",
            "How many requests took how long.",
            Kind::Heatmap,
            GrafanaUnit::Seconds,
            vec![query("{{le}}", style.heatmap())],
        ),
        lines(
            "database_queries",
            "Database queries, p95",
            "By the operation of the statement.",
            Kind::Lines,
            GrafanaUnit::Seconds,
            vec![query("{{operation}}", style.database())],
        ),
    ]
}
