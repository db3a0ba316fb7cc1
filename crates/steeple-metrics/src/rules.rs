//! Objectives as Prometheus rules: error ratios over seven windows, and alerts when the budget burns too fast.

use std::fmt::Write;

use crate::{
    Buckets, BuildError, Metrics, Objective,
    indicator::promql::{le_pattern, quoted, trimmed},
};

/// A file of recording rules and alerts for Prometheus, made from objectives.
///
/// Multi-window, multi-burn-rate: an alert fires when the error budget of 30 days burns so fast that it matters, over a long
/// window and still over a short one. `page`: 14.4 times over 1 h and 5 min, or 6 times over 6 h and 30 min. `ticket`: 3 times
/// over 1 d and 2 h, or once over 3 d and 6 h.
///
/// The rules read the classic names and classic buckets; a server that scrapes native histograms keeps those beside them
/// with `scrape_classic_histograms` (`always_scrape_classic_histograms` from Prometheus 3 on). A client that went away
/// (499) is not an error of the server.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_metrics::{Objective, Rules};
///
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let file = Rules::new()
///     .route("GET", "/users/{id}", Objective::success(0.999).latency(Duration::from_millis(250), 0.99))
///     .render()?;
/// assert!(file.contains("alert: HttpErrorBudgetBurn"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "rules do nothing until they are written to a file"]
pub struct Rules {
    objectives: Vec<(String, String, Objective)>,
    min_requests_per_hour: f64,
    /// Routes whose objective adds a bucket for its latency.
    own_buckets: bool,
    buckets: Option<Buckets>,
}

/// The windows that recording rules keep.
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// Long window, short window, how many times too fast the budget burns.
type Burn = (&'static str, &'static str, f64);

/// # Source
/// The Site Reliability Workbook, chapter 5; the values of `sloth` for 30 days.
const SEVERITIES: [(&str, [Burn; 2]); 2] =
    [("page", [("1h", "5m", 14.4), ("6h", "30m", 6.0)]), ("ticket", [("1d", "2h", 3.0), ("3d", "6h", 1.0)])];

impl Rules {
    /// No objective yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The objective of a method and a route's template. The last one for a route stays.
    pub fn route(mut self, method: &str, route: &str, objective: Objective) -> Self {
        self.objectives.retain(|(other, path, _)| other != method || path != route);
        self.objectives.push((method.to_owned(), route.to_owned(), objective));
        self
    }

    /// Keeps alerts quiet while a route has fewer requests than this in an hour. Default: 0.
    pub fn min_requests_per_hour(mut self, requests: f64) -> Self {
        self.min_requests_per_hour = requests;
        self
    }

    /// The classic buckets that the service sorts durations into. Default: [`Buckets::opentelemetry`]. An objective's latency
    /// has to be one of them, or slower requests cannot be counted.
    pub fn buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = Some(buckets);
        self
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// Writes the file, as YAML.
    ///
    /// # Errors
    /// [`BuildError::is_objective`] for an objective that nothing can meet or miss, or whose latency is not one of the
    /// [buckets](Self::buckets).
    pub fn render(&self) -> Result<String, BuildError> {
        let buckets = self.buckets.clone().unwrap_or(Buckets::opentelemetry());
        let mut out = String::from("groups:\n");
        for (place, (method, route, objective)) in self.objectives.iter().enumerate() {
            objective.check()?;
            let is_bucket = |seconds| buckets.bounds().contains(&seconds);
            if !self.own_buckets && !objective.latency_seconds().is_none_or(is_bucket) {
                return Err(BuildError::objective());
            }
            let matchers = format!("method={},route={}", quoted(method), quoted(route));
            let group = format!("steeple-{place}: {method} {route}");
            // Writing to a string cannot fail.
            let _infallible = writeln!(out, "  - name: {}\n    rules:", yaml(&group));
            let labels = [("method", method.as_str()), ("route", route.as_str())];
            if let Some(success) = objective.success_ratio() {
                let record = "job:http_request_errors_per_requests:ratio_rate";
                for window in WINDOWS {
                    record_rule(&mut out, &format!("{record}{window}"), &labels, &error_ratio(&matchers, window));
                }
                let alert = Alert {
                    name: "HttpErrorBudgetBurn",
                    what: format!("{} of requests succeed", trimmed(success)),
                    record,
                    budget: 1.0 - success,
                };
                self.alerts(&mut out, &alert, &matchers, &labels);
            }
            if let Some((seconds, ratio)) = objective.latency_seconds().zip(objective.latency_ratio()) {
                let record = "job:http_slow_requests_per_requests:ratio_rate";
                for window in WINDOWS {
                    let expr = slow_ratio(&matchers, seconds, window);
                    record_rule(&mut out, &format!("{record}{window}"), &labels, &expr);
                }
                let alert = Alert {
                    name: "HttpLatencyBudgetBurn",
                    what: format!("{} of requests take at most {seconds} s", trimmed(ratio)),
                    record,
                    budget: 1.0 - ratio,
                };
                self.alerts(&mut out, &alert, &matchers, &labels);
            }
        }
        if self.objectives.is_empty() {
            out = String::from("groups: []\n");
        }
        Ok(out)
    }

    fn alerts(&self, out: &mut String, alert: &Alert<'_>, matchers: &str, labels: &[(&str, &str)]) {
        for (severity, burns) in SEVERITIES {
            let conditions: Vec<String> = burns
                .iter()
                // An error ratio is at most 1: what asks for more can never fire.
                .filter(|(_, _, factor)| factor * alert.budget < 1.0)
                .map(|(long, short, factor)| {
                    let limit = limit(factor * alert.budget);
                    let record = alert.record;
                    format!("({record}{long}{{{matchers}}} > {limit} and {record}{short}{{{matchers}}} > {limit})")
                })
                .collect();
            if conditions.is_empty() {
                continue;
            }
            let mut expr = conditions.join("\nor\n");
            if self.min_requests_per_hour > 0.0 {
                let least = trimmed(self.min_requests_per_hour);
                expr = format!(
                    "(\n{expr}\n)\nand on (job)\nsum by (job) (increase(http_requests_total{{{matchers}}}[1h])) >= {least}"
                );
            }
            let (method, route) = match labels {
                [(_, method), (_, route)] => (*method, *route),
                _ => ("", ""),
            };
            let summary = format!("{method} {}: the budget burns too fast", template_safe(route));
            let description =
                format!("Objective: {} over 30 days. Now {{{{ $value | humanizePercentage }}}} do not.", alert.what);
            let _infallible = write!(
                out,
                "      - alert: {}\n        expr: {}\n        labels:\n          severity: {severity}\n          method: {}\n          \
                 route: {}\n        annotations:\n          summary: {}\n          description: {}\n",
                alert.name,
                yaml(&expr),
                yaml(method),
                yaml(&template_safe(route)),
                yaml(&summary),
                yaml(&description),
            );
        }
    }
}

/// A limit with six digits, wherever the point is: `1 - 0.9999999999` has no more that are right.
fn limit(ratio: f64) -> String {
    format!("{ratio:.5e}").parse::<f64>().unwrap_or(ratio).to_string()
}

struct Alert<'a> {
    name: &'a str,
    what: String,
    record: &'a str,
    budget: f64,
}

fn record_rule(out: &mut String, name: &str, labels: &[(&str, &str)], expr: &str) {
    let _infallible = write!(out, "      - record: {name}\n        expr: {}\n        labels:\n", yaml(expr));
    for (label, value) in labels {
        let _infallible = writeln!(out, "          {label}: {}", yaml(value));
    }
}

/// 5xx, service errors and panics have a status of 500 and above; a body that broke has the status that was sent before.
fn error_ratio(matchers: &str, window: &str) -> String {
    let total = format!("sum by (job) (rate(http_requests_total{{{matchers}}}[{window}]))");
    let failed = format!("sum by (job) (rate(http_requests_total{{{matchers},status_code=~\"5..\"}}[{window}]))");
    let broken =
        format!("sum by (job) (rate(http_requests_aborted_total{{{matchers},outcome=\"body_error\"}}[{window}]))");
    // A route that has never failed has no such series: that means 0, not unknown.
    format!("(\n  ({failed} or {total} * 0)\n+\n  ({broken} or {total} * 0)\n)\n/ {total}")
}

fn slow_ratio(matchers: &str, seconds: f64, window: &str) -> String {
    let bound = le_pattern(seconds);
    let histogram = "http_request_duration_seconds";
    format!(
        "1 - sum by (job) (rate({histogram}_bucket{{{matchers},le=~{}}}[{window}]))\n/ sum by (job) (rate({histogram}_count{{{matchers}}}[{window}]))",
        quoted(&bound)
    )
}

/// A string as YAML reads it: in double quotes, which know the escapes of JSON.
fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Two opening braces would begin a template.
fn template_safe(text: &str) -> String {
    text.replace("{{", "{{\"{{\"}}")
}

impl Metrics {
    /// The objectives of every route that has [its own](crate::RouteMetrics::objective) and has had a request.
    pub fn rules(&self) -> Rules {
        let all = self.0.core.http.objectives();
        // Each of them has its latency among its buckets.
        let none = Rules { own_buckets: true, ..Rules::new() };
        all.into_iter().fold(none, |rules, (method, route, objective)| rules.route(method, &route, objective))
    }
}
