use std::fmt::Write;

use super::definition::{Indicator, Kind, Level, Matcher, OfRequests, Scope, Selector, Window};
use crate::{Buckets, Names, layout::OTEL_SECONDS};

/// How `PromQL` is written: which names, which histograms, which labels.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until an expression is written with them"]
pub struct Promql {
    names: Names,
    native: bool,
    matchers: String,
    by: Vec<String>,
    prefix: String,
    bounds: Vec<f64>,
}

impl Default for Promql {
    fn default() -> Self {
        Self {
            names: Names::Classic,
            native: false,
            matchers: String::new(),
            by: Vec::new(),
            prefix: String::new(),
            bounds: OTEL_SECONDS.to_vec(),
        }
    }
}

impl Promql {
    /// Classic names and buckets, all series, one value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which names the request metrics have on the server. [`Names::Both`] is read as [`Names::Classic`].
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Whether the server scrapes native histograms, without the classic buckets beside them. Default: no.
    pub fn native(mut self, native: bool) -> Self {
        self.native = native;
        self
    }

    /// Matchers for every selector, such as `job="shop"`; as `PromQL` has them, without braces.
    pub fn matchers(mut self, matchers: impl Into<String>) -> Self {
        self.matchers = matchers.into();
        self
    }

    /// Labels to keep apart, such as `instance`. Default: none, one value for all.
    pub fn by<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.by = labels.into_iter().map(Into::into).collect();
        self
    }

    /// What the registry puts before each name: `app_`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The classic buckets of durations. Default: [`Buckets::opentelemetry`].
    pub fn buckets(mut self, buckets: &Buckets) -> Self {
        self.bounds = buckets.bounds().to_vec();
        self
    }

    /// The labels that are kept apart.
    pub fn labels(&self) -> &[String] {
        &self.by
    }

    /// The matchers, as they were [set](Self::matchers).
    pub fn matcher_text(&self) -> &str {
        &self.matchers
    }

    /// A family with the [matchers](Self::matchers): `up{job="shop"}`. `name` is as it is printed, with its prefix.
    pub fn select(&self, name: &str) -> String {
        if self.matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", self.matchers) }
    }

    /// The prefix.
    pub fn name_prefix(&self) -> &str {
        &self.prefix
    }

    fn is_otel(&self) -> bool {
        self.names == Names::OpenTelemetry
    }

    /// A selector of these families, with these matchers.
    fn selector(&self, families: &[&str], matchers: &[&str]) -> String {
        let matchers = matchers.iter().copied().chain([self.matchers.as_str()]).filter(|matcher| !matcher.is_empty());
        let matchers: Vec<&str> = matchers.collect();
        let names: Vec<String> = families.iter().map(|family| format!("{}{family}", self.prefix)).collect();
        match names.as_slice() {
            [name] if matchers.is_empty() => name.clone(),
            [name] => format!("{name}{{{}}}", matchers.join(",")),
            names => {
                let name = format!("__name__=~\"{}\"", names.join("|"));
                let all: Vec<&str> = [name.as_str()].into_iter().chain(matchers).collect();
                format!("{{{}}}", all.join(","))
            }
        }
    }

    fn own(&self, selector: &Selector, suffix: &str) -> String {
        self.selector(&[&format!("{}{suffix}", selector.family)], &[&matchers(&selector.matchers)])
    }

    /// An aggregation by the labels that are kept apart, and by this label.
    fn aggregate(&self, how: &str, also: &str, what: &str) -> String {
        let by = self.by.iter().map(String::as_str).chain([also]).filter(|label| !label.is_empty());
        let by: Vec<&str> = by.collect();
        if by.is_empty() { format!("{how}({what})") } else { format!("{how} by ({}) ({what})", by.join(", ")) }
    }

    fn sum(&self, what: &str) -> String {
        self.aggregate("sum", "", what)
    }

    /// A part of a whole. A part without series is 0 as long as there is a whole.
    fn ratio(&self, part: &str, whole: &str) -> String {
        let (part, whole) = (self.sum(part), self.sum(whole));
        format!("({part} or {whole} * 0) / {whole}")
    }
}

/// The families that hold requests, and how a route is found in them.
struct Requests<'a> {
    style: &'a Promql,
    /// Empty for all routes.
    http: Option<String>,
    grpc: Option<String>,
    window: Window,
}

/// Codes that count as errors of the server, as Go and as gRPC spell them.
const GRPC_ERRORS: &str = "grpc_code=~\"Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss\"";
const OTEL_ERRORS: &str = "error_type=~\"5..|service_error|body_error|panicked\"";

impl<'a> Requests<'a> {
    fn new(style: &'a Promql, scope: &Scope, window: Window) -> Self {
        let otel = style.is_otel();
        let (http, grpc) = match scope {
            Scope::All => (Some(String::new()), Some(String::new())),
            Scope::Route { method, route } if method.is_empty() => {
                let (service, name) = route.split_once('/').unwrap_or((route, route));
                let matchers = if otel {
                    format!("rpc_method={}", quoted(route))
                } else {
                    format!("grpc_service={},grpc_method={}", quoted(service), quoted(name))
                };
                (None, Some(matchers))
            }
            Scope::Route { method, route } => {
                // OpenTelemetry leaves the label out where no route matched.
                let named = if otel && **route == *crate::http::UNMATCHED { "" } else { route };
                let [method_label, route_label] =
                    if otel { ["http_request_method", "http_route"] } else { ["method", "route"] };
                let matchers = format!("{method_label}={},{route_label}={}", quoted(method), quoted(named));
                (Some(matchers), None)
            }
        };
        Self { style, http, grpc, window }
    }

    /// The rate of one kind of series of both families: `suffix` goes behind the name, `extra` among the matchers.
    fn durations(&self, suffix: &str, extra: &str) -> String {
        let [http, grpc] = if self.style.is_otel() {
            ["http_server_request_duration_seconds", "rpc_server_call_duration_seconds"]
        } else {
            ["http_request_duration_seconds", "grpc_server_handling_seconds"]
        };
        let [http, grpc] = [http, grpc].map(|name| format!("{name}{suffix}"));
        let found = match (&self.http, &self.grpc) {
            (Some(http_route), None) => self.style.selector(&[&http], &[http_route, extra]),
            (None, Some(method)) => self.style.selector(&[&grpc], &[method, extra]),
            _ => self.style.selector(&[&http, &grpc], &[extra]),
        };
        format!("rate({found}[{}])", self.window)
    }

    /// How many durations there were.
    fn timed(&self) -> String {
        if self.style.native {
            format!("histogram_count({})", self.durations("", ""))
        } else {
            self.durations("_count", "")
        }
    }

    /// All requests, as `rate` or `increase`.
    fn all(&self, how: &str) -> String {
        let window = self.window;
        if self.style.is_otel() {
            // The histogram has no counter beside it.
            return self.timed().replace("rate(", &format!("{how}("));
        }
        let found = match (&self.http, &self.grpc) {
            (Some(route), None) => self.style.selector(&["http_requests_total"], &[route]),
            (None, Some(method)) => self.style.selector(&["grpc_server_handled_total"], &[method]),
            _ => self.style.selector(&["http_requests_total", "grpc_server_handled_total"], &[]),
        };
        format!("{how}({found}[{window}])")
    }

    fn errors(&self) -> String {
        let (style, window) = (self.style, self.window);
        let mut parts = Vec::new();
        if let Some(route) = &self.http {
            if style.is_otel() {
                parts.push(self.otel_part("http_server_request_duration_seconds", &[route, OTEL_ERRORS]));
            } else {
                parts.push(format!(
                    "rate({}[{window}])",
                    style.selector(&["http_requests_total"], &[route, "status_code=~\"5..\""])
                ));
                // Its status was sent before it broke.
                parts.push(format!(
                    "rate({}[{window}])",
                    style.selector(&["http_requests_aborted_total"], &[route, "outcome=\"body_error\""])
                ));
            }
        }
        if let Some(method) = &self.grpc {
            if style.is_otel() {
                parts.push(self.otel_part("rpc_server_call_duration_seconds", &[method, "error_type!=\"\""]));
            } else {
                parts.push(format!(
                    "rate({}[{window}])",
                    style.selector(&["grpc_server_handled_total"], &[method, GRPC_ERRORS])
                ));
            }
        }
        // No two of them have the same labels, so that nothing of them is left out.
        parts.join(" or ")
    }

    fn otel_part(&self, name: &str, matchers: &[&str]) -> String {
        if self.style.native {
            format!("histogram_count(rate({}[{}]))", self.style.selector(&[name], matchers), self.window)
        } else {
            format!("rate({}[{}])", self.style.selector(&[&format!("{name}_count")], matchers), self.window)
        }
    }

    fn aborted(&self, outcome: &str) -> String {
        let route = self.http.as_deref().unwrap_or_default();
        if self.style.is_otel() {
            return self
                .otel_part("http_server_request_duration_seconds", &[route, &format!("error_type=\"{outcome}\"")]);
        }
        let found = self.style.selector(&["http_requests_aborted_total"], &[route, &format!("outcome=\"{outcome}\"")]);
        format!("rate({found}[{}])", self.window)
    }

    fn write(&self, of: &OfRequests) -> String {
        let style = self.style;
        match of {
            OfRequests::ErrorRatio => style.ratio(&self.errors(), &self.all("rate")),
            OfRequests::Quantile(q) => quantile(style, *q, |suffix| self.durations(suffix, "")),
            OfRequests::Mean if style.native => {
                let histogram = style.sum(&self.durations("", ""));
                format!("histogram_sum({histogram}) / histogram_count({histogram})")
            }
            OfRequests::Mean => {
                format!("{} / {}", style.sum(&self.durations("_sum", "")), style.sum(&self.durations("_count", "")))
            }
            OfRequests::Rate => style.sum(&self.all("rate")),
            OfRequests::SlowRatio(target) => self.slow_ratio(target.as_secs_f64()),
            OfRequests::AbortedRatio(outcome) => style.ratio(&self.aborted(outcome.as_str()), &self.all("rate")),
        }
    }

    fn slow_ratio(&self, seconds: f64) -> String {
        let style = self.style;
        if style.native {
            return format!("1 - histogram_fraction(0, {}, {})", trimmed(seconds), style.sum(&self.durations("", "")));
        }
        let whole = style.sum(&self.durations("_count", ""));
        let up_to = |bound: f64| style.sum(&self.durations("_bucket", &format!("le=~{}", quoted(&le_pattern(bound)))));
        let place = style.bounds.partition_point(|bound| *bound < seconds);
        let within = match (place.checked_sub(1).and_then(|below| style.bounds.get(below)), style.bounds.get(place)) {
            #[expect(clippy::float_cmp, reason = "both were written by the same person")]
            (_, Some(upper)) if *upper == seconds => up_to(*upper),
            // Between two bounds, in proportion, as `histogram_quantile` has it.
            (Some(lower), Some(upper)) => {
                let part = trimmed((seconds - lower) / (upper - lower));
                format!("({0} + ({1} - {0}) * {part})", up_to(*lower), up_to(*upper))
            }
            (None, Some(upper)) => format!("({} * {})", up_to(*upper), trimmed(seconds / upper)),
            (Some(lower), None) => up_to(*lower),
            (None, None) => whole.clone(),
        };
        format!("1 - {within} / {whole}")
    }
}

fn quantile(style: &Promql, q: f64, rate: impl Fn(&str) -> String) -> String {
    let sum = if style.native { style.sum(&rate("")) } else { style.aggregate("sum", "le", &rate("_bucket")) };
    format!("histogram_quantile({}, {sum})", trimmed(q))
}

impl Indicator {
    /// The expression that has its value over a window on a Prometheus server.
    pub fn promql(&self, window: Window, style: &Promql) -> String {
        let over = |function: &str, selector: String| format!("{function}({selector}[{window}])");
        let rate = |families: &[&str], matchers: &[&str]| over("rate", style.selector(families, matchers));
        let mean = |family: &str, matcher: &str| over("avg_over_time", style.selector(&[family], &[matcher]));
        match &self.0 {
            Kind::Requests(of, scope) => Requests::new(style, scope, window).write(of),
            Kind::Level(level) => match level {
                Level::InFlight => style.sum(&mean("http_requests_in_flight", "")),
                Level::ActiveUsers => style.sum(&mean("active_users", "")),
                // The fullest instance counts, for each has its own limit.
                Level::Cpu => style.aggregate(
                    "max",
                    "",
                    &format!(
                        "{} / {}",
                        rate(&["container_cpu_seconds_total"], &[]),
                        style.selector(&["container_cpu_limit_cores"], &[])
                    ),
                ),
                Level::CpuThrottled => style.aggregate(
                    "max",
                    "",
                    &format!(
                        "{} / ({} > 0)",
                        rate(&["container_cpu_throttled_periods_total"], &[]),
                        rate(&["container_cpu_periods_total"], &[])
                    ),
                ),
                Level::Memory => style.aggregate(
                    "max",
                    "",
                    &format!(
                        "{} / {}",
                        mean("container_memory_used_bytes", ""),
                        style.selector(&["container_memory_limit_bytes"], &[])
                    ),
                ),
                Level::Disk => style.aggregate(
                    "max",
                    "",
                    &format!("{} / {}", mean("disk_used_bytes", ""), style.selector(&["disk_size_bytes"], &[])),
                ),
                Level::Connections => format!(
                    "{} / {}",
                    style.sum(&mean("database_connections", "state=\"used\"")),
                    style.sum(&style.selector(&["database_connections_max"], &[]))
                ),
                Level::CacheHitRatio => style.ratio(
                    &rate(&["cache_operations_total"], &["result=\"hit\""]),
                    &rate(&["cache_operations_total"], &["result=~\"hit|miss\""]),
                ),
                Level::Dropped => style.sum(&over("rate", {
                    let name = format!("__name__=~\"{}steeple_.+_dropped_total\"", style.prefix);
                    let matchers = [name.as_str(), &style.matchers];
                    format!("{{{}}}", matchers.iter().filter(|m| !m.is_empty()).copied().collect::<Vec<_>>().join(","))
                })),
            },
            Kind::CounterRate(selector) => style.sum(&over("rate", style.own(selector, ""))),
            Kind::CounterIncrease(selector) => style.sum(&over("increase", style.own(selector, ""))),
            Kind::CounterRatio(part, whole) => {
                style.ratio(&over("rate", style.own(part, "")), &over("rate", style.own(whole, "")))
            }
            Kind::Gauge(selector) => style.sum(&over("avg_over_time", style.own(selector, ""))),
            Kind::HistogramQuantile(q, selector) => {
                quantile(style, *q, |suffix| over("rate", style.own(selector, suffix)))
            }
        }
    }

    /// The expression that has the number of requests, or of counts of the whole, that its value is made of. `None` where
    /// its value is not made of single events.
    pub fn samples_promql(&self, window: Window, style: &Promql) -> Option<String> {
        let increase = |selector: String| style.sum(&format!("increase({selector}[{window}])"));
        match &self.0 {
            Kind::Requests(_, scope) => Some(style.sum(&Requests::new(style, scope, window).all("increase"))),
            Kind::CounterRatio(_, whole) => Some(increase(style.own(whole, ""))),
            Kind::HistogramQuantile(_, selector) if style.native => {
                Some(style.sum(&format!("histogram_count(increase({}[{window}]))", style.own(selector, ""))))
            }
            Kind::HistogramQuantile(_, selector) => Some(increase(style.own(selector, "_count"))),
            Kind::Level(Level::CacheHitRatio) => {
                Some(increase(style.selector(&["cache_operations_total"], &["result=~\"hit|miss\""])))
            }
            Kind::Level(_) | Kind::CounterRate(_) | Kind::CounterIncrease(_) | Kind::Gauge(_) => None,
        }
    }
}

/// A bound as any of the formats writes it: whole ones are `1` in the text format and `1.0` in the others; small ones have
/// an exponent where Prometheus writes them, from protobuf, and none where we do.
pub(crate) fn le_pattern(bound: f64) -> String {
    if bound.fract() == 0.0 {
        return format!("{bound}(\\.0)?");
    }
    let plain = bound.to_string().replace('.', "\\.");
    if bound >= 1e-4 {
        return plain;
    }
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific.split_once("e-").unwrap_or((&scientific, "0"));
    format!("{plain}|{}e-0?{exponent}", digits.replace('.', "\\."))
}

/// A number without the dust of binary fractions: twelve digits, wherever the point is.
pub(crate) fn trimmed(number: f64) -> String {
    format!("{number:.11e}").parse::<f64>().unwrap_or(number).to_string()
}

/// A string as `PromQL` reads it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

pub(super) fn matchers(matchers: &[Matcher]) -> String {
    let mut out = String::new();
    for Matcher { label, value, is_equal } in matchers {
        let separator = if out.is_empty() { "" } else { "," };
        let sign = if *is_equal { "=" } else { "!=" };
        // Writing to a string cannot fail.
        let _infallible = write!(out, "{separator}{label}{sign}{}", quoted(value));
    }
    out
}
