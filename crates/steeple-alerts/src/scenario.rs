//! Rules as unit tests: a made-up service, time that passes at once, and the same as a test for `promtool`.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use steeple_metrics::{
    Metrics, Names,
    indicator::{Clock, History, HistoryOptions, Promql, Simulated},
};

use crate::{Alerts, BuildError, Rules, message::Status, prometheus::yaml};

/// The middle of an ordinary day.
const START: Duration = Duration::from_secs(1_795_953_600);

/// A service that is made up: what it does can be changed, then time passes, and what the rules made of it is there to be
/// compared. No clock, no thread, no network: it takes milliseconds, and comes out the same each time.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_alerts::{Rules, scenario::Scenario};
///
/// let mut shop = Scenario::new(Rules::mission().guarded())?;
/// shop.traffic("POST", "/pay", 10.0, 0.0, Duration::from_millis(80));
/// shop.pass(Duration::from_secs(600));
/// assert_eq!(shop.events(), []);
/// shop.traffic("POST", "/pay", 10.0, 0.5, Duration::from_millis(80)); // half of them fail
/// shop.pass(Duration::from_secs(120));
/// assert_eq!(shop.firing(), ["high_error_rate"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scenario {
    rules: Rules,
    alerts: Alerts,
    history: History,
    _metrics: Metrics,
    clock: Clock,
    step: Duration,
    /// Samples that were taken.
    samples: u32,
    simulated: Simulated,
    traffic: BTreeMap<(String, String), Traffic>,
    counters: BTreeMap<Series, f64>,
    gauges: BTreeMap<Series, f64>,
    cpu: f64,
    cpu_seconds: f64,
    memory: f64,
    active_users: f64,
    /// Every value of every series, by name and labels.
    series: BTreeMap<String, Vec<f64>>,
    /// Which alerts fired at each sample.
    fired: Vec<Vec<String>>,
}

type Series = (String, Vec<(String, String)>);

#[derive(Clone, Copy, Debug)]
struct Traffic {
    per_second: f64,
    error_ratio: f64,
    duration: Duration,
    /// The bytes of an incomplete request.
    rest: f64,
    rest_of_errors: f64,
    ok: Ended,
    failed: Ended,
}

/// Requests that ended, and how long they took.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    count: f64,
    seconds: f64,
    buckets: [f64; BUCKETS.len()],
}

/// Buckets of durations, as Prometheus has them of a service with the default ones.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// One notification to the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// How long after the beginning.
    pub after: Duration,
    /// The rule.
    pub rule: String,
    /// `firing`, `reminder`, `resolved`, or `kept_back` for what came and went in a cooldown.
    pub what: &'static str,
}

impl Scenario {
    /// A service with these rules that does nothing: no requests, little CPU and memory, enough users. A sample is taken every
    /// 15 seconds, as Prometheus does.
    ///
    /// # Errors
    /// When a rule can never fire, see [`AlertsBuilder::build`](crate::AlertsBuilder::build).
    pub fn new(rules: Rules) -> Result<Self, BuildError> {
        Self::every(rules, Duration::from_secs(15))
    }

    /// The same with another time between samples, in whole seconds.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn every(rules: Rules, step: Duration) -> Result<Self, BuildError> {
        let step = Duration::from_secs(step.as_secs().max(1));
        let metrics = Metrics::builder().build().map_err(|error| BuildError::rule("scenario", &error.to_string()))?;
        let clock = Clock::manual(START);
        let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
        let alerts = Alerts::builder().rules(rules.clone()).build(&metrics)?;
        let mut scenario = Self {
            rules,
            alerts,
            history,
            _metrics: metrics,
            clock,
            step,
            samples: 0,
            simulated: Simulated::new(),
            traffic: BTreeMap::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            cpu: 0.1,
            cpu_seconds: 0.0,
            memory: 0.3,
            active_users: 100.0,
            series: BTreeMap::new(),
            fired: Vec::new(),
        };
        scenario.sample();
        Ok(scenario)
    }

    /// From now on, a route has so many requests a second, of which this part fails, and each of which takes so long. The method
    /// is empty for gRPC.
    pub fn traffic(&mut self, method: &str, route: &str, per_second: f64, error_ratio: f64, duration: Duration) {
        let key = (method.to_owned(), route.to_owned());
        let new = Traffic {
            per_second,
            error_ratio,
            duration,
            rest: 0.0,
            rest_of_errors: 0.0,
            ok: Ended::default(),
            failed: Ended::default(),
        };
        let traffic = self.traffic.entry(key).or_insert(new);
        (traffic.per_second, traffic.error_ratio, traffic.duration) = (per_second, error_ratio, duration);
    }

    /// From now on, this part of the processor time is used, from 0 to 1.
    pub fn cpu(&mut self, ratio: f64) {
        self.cpu = ratio;
    }

    /// From now on, this part of the memory is used, from 0 to 1.
    pub fn memory(&mut self, ratio: f64) {
        self.memory = ratio;
    }

    /// From now on, so many users are active.
    pub fn active_users(&mut self, users: f64) {
        self.active_users = users;
    }

    /// Adds to a counter of the application: `counter("payments_total", &[("result", "failed")], 4.0)`. Add 0 before time passes
    /// for a counter that is there from the start.
    pub fn counter(&mut self, family: &str, labels: &[(&str, &str)], by: f64) {
        self.simulated.add_counter(family, labels, by);
        *self.counters.entry(series(family, labels)).or_default() += by;
    }

    /// Sets a gauge of the application.
    pub fn gauge(&mut self, family: &str, labels: &[(&str, &str)], value: f64) {
        self.simulated.set_gauge(family, labels, value);
        self.gauges.insert(series(family, labels), value);
    }

    /// Lets time pass, with a sample at each step.
    pub fn pass(&mut self, time: Duration) {
        let steps = time.as_secs().checked_div(self.step.as_secs()).unwrap_or_default();
        for _ in 0..steps {
            self.clock.advance(self.step);
            self.act();
            self.sample();
        }
    }

    /// The notifications to the channels, in order.
    pub fn events(&self) -> Vec<Event> {
        let told = self.alerts.notifications();
        let events = told.into_iter().map(|told| Event {
            after: told.at.saturating_sub(START),
            rule: told.rule,
            what: match told.status {
                Status::Reminder => "reminder",
                Status::Firing | Status::Resolved | Status::KeptBack => told.status.as_str(),
            },
        });
        events.collect()
    }

    /// The alerts that fire now, by the names of their rules.
    pub fn firing(&self) -> Vec<String> {
        self.alerts.firing().into_iter().map(|rule| rule.name).collect()
    }

    /// The alerts: to silence, to acknowledge, to look at messages.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The rules and this scenario as a test for `promtool test rules`: the file with the rules is expected beside it, with this
    /// name. At each sample, exactly those alerts must fire on the server that fired here; two samples on each side of a change are
    /// left out, because a server takes the mean of samples, and this process that of time; and a thirtieth of the longest window, which
    /// is as exactly as this process knows when a window begins.
    pub fn to_promtool(&self, rule_file: &str) -> String {
        let step = format!("{}s", self.step.as_secs());
        let mut out = format!(
            "rule_files:\n  - {}\nevaluation_interval: {step}\ntests:\n  - interval: {step}\n    input_series:\n",
            yaml(rule_file)
        );
        for (name, values) in &self.series {
            // A series that began later was not there before.
            let late = usize::try_from(self.samples).unwrap_or_default().saturating_sub(values.len());
            let mut text = vec!["_".to_owned(); late];
            text.extend(values.iter().map(f64::to_string));
            let _infallible =
                writeln!(out, "      - series: {}\n        values: {}", yaml(name), yaml(&text.join(" ")));
        }
        out.push_str("    promql_expr_test:\n");
        let longest = self.rules.iter().map(crate::Rule::window).max().unwrap_or_default();
        let part = longest.as_secs().div_ceil(30).checked_div(self.step.as_secs()).unwrap_or_default();
        let margin = usize::try_from(part.saturating_add(1)).unwrap_or_default().max(2);
        for (sample, fired) in self.fired.iter().enumerate() {
            let around = self.fired.get(sample.saturating_sub(margin)..=sample.saturating_add(margin));
            if !around.is_some_and(|around| around.iter().all(|other| other == fired)) {
                continue;
            }
            let at = self.step.as_secs().saturating_mul(sample as u64);
            let expr = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
            let _infallible = writeln!(out, "      - expr: {}\n        eval_time: {at}s", yaml(expr));
            if fired.is_empty() {
                out.push_str("        exp_samples: []\n");
                continue;
            }
            out.push_str("        exp_samples:\n");
            for rule in fired {
                let labels = format!("{{alertname=\"{rule}\"}}");
                let _infallible = writeln!(out, "          - labels: {}\n            value: 1", yaml(&labels));
            }
        }
        out
    }

    /// The rules as the file that [`to_promtool`](Self::to_promtool) expects.
    pub fn to_prometheus(&self, names: Names) -> String {
        self.rules.to_prometheus(&Promql::new().names(names))
    }

    /// What the service does in one step.
    fn act(&mut self) {
        let seconds = self.step.as_secs_f64();
        for ((method, route), traffic) in &mut self.traffic {
            let (ok, errors) = traffic.act(seconds);
            self.simulated.add_requests(method, route, ok.saturating_add(errors), errors, traffic.duration);
        }
        self.simulated.add_cpu(self.cpu * seconds, 1.0);
        self.cpu_seconds += self.cpu * seconds;
    }

    /// Takes a sample here, and notes what a server would have scraped.
    fn sample(&mut self) {
        self.simulated.add_cpu(0.0, 1.0);
        self.simulated.set_memory(self.memory);
        self.simulated.set_active_users(self.active_users);
        self.note();
        self.history.sample_of(&self.simulated);
        self.samples = self.samples.saturating_add(1);
        self.fired.push(self.firing());
    }

    fn note(&mut self) {
        const LIMIT: f64 = 1_073_741_824.0;
        let mut now = vec![
            (named("container_cpu_seconds_total", &[]), self.cpu_seconds),
            (named("container_cpu_limit_cores", &[]), 1.0),
            (named("container_memory_used_bytes", &[]), self.memory * LIMIT),
            (named("container_memory_limit_bytes", &[]), LIMIT),
            (named("active_users", &[]), self.active_users),
            (named("process_start_time_seconds", &[]), 0.0),
        ];
        for ((family, labels), value) in self.counters.iter().chain(&self.gauges) {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            now.push((named(family, &labels), *value));
        }
        for ((method, route), traffic) in &self.traffic {
            traffic.note(method, route, &mut now);
        }
        for (name, value) in now {
            self.series.entry(name).or_default().push(value);
        }
    }
}

impl Traffic {
    /// The requests of one step: those that went well, and those that failed.
    fn act(&mut self, seconds: f64) -> (u64, u64) {
        self.rest += self.per_second * seconds;
        let requests = whole(&mut self.rest);
        self.rest_of_errors += number(requests) * self.error_ratio.clamp(0.0, 1.0);
        let errors = whole(&mut self.rest_of_errors).min(requests);
        let ok = requests.saturating_sub(errors);
        let took = self.duration.as_secs_f64();
        for (ended, count) in [&mut self.ok, &mut self.failed].into_iter().zip([ok, errors]) {
            ended.count += number(count);
            ended.seconds += number(count) * took;
            for (bucket, bound) in ended.buckets.iter_mut().zip(BUCKETS) {
                if took <= bound {
                    *bucket += number(count);
                }
            }
        }
        (ok, errors)
    }

    /// The series of a route, by both schemes of names.
    fn note(&self, method: &str, route: &str, out: &mut Vec<(String, f64)>) {
        let (service, name) = route.split_once('/').unwrap_or((route, route));
        let is_grpc = method.is_empty();
        for (ended, code, grpc, error_type) in
            [(&self.ok, "200", "OK", ""), (&self.failed, "500", "Internal", if is_grpc { "INTERNAL" } else { "500" })]
        {
            let (counter, classic, otel, labels, otel_labels) = if is_grpc {
                let labels = vec![("grpc_service", service), ("grpc_method", name), ("grpc_code", grpc)];
                let otel = vec![("rpc_method", route), ("error_type", error_type)];
                let names =
                    ["grpc_server_handled_total", "grpc_server_handling_seconds", "rpc_server_call_duration_seconds"];
                (names[0], names[1], names[2], labels, otel)
            } else {
                let labels = vec![("method", method), ("route", route), ("status_code", code)];
                let otel = vec![
                    ("http_request_method", method),
                    ("http_route", route),
                    ("http_response_status_code", code),
                    ("error_type", error_type),
                ];
                let names =
                    ["http_requests_total", "http_request_duration_seconds", "http_server_request_duration_seconds"];
                (names[0], names[1], names[2], labels, otel)
            };
            out.push((named(counter, &labels), ended.count));
            for (family, labels) in [(classic, &labels), (otel, &otel_labels)] {
                out.push((named(&format!("{family}_count"), labels), ended.count));
                out.push((named(&format!("{family}_sum"), labels), ended.seconds));
                let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                let counts = ended.buckets.iter().copied().chain([ended.count]);
                for (bound, count) in bounds.zip(counts) {
                    let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
                    out.push((named(&format!("{family}_bucket"), &labels), count));
                }
            }
        }
    }
}

fn series(family: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (family.to_owned(), labels.collect())
}

/// A series as `promtool` reads it, of the one instance that there is.
fn named(family: &str, labels: &[(&str, &str)]) -> String {
    let all = [("instance", "scenario")].into_iter().chain(labels.iter().copied());
    let pairs = all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", yaml(value)));
    format!("{family}{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Takes the complete requests.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut at both ends")]
fn whole(rest: &mut f64) -> u64 {
    // Sums of parts are never exact.
    let whole = (*rest + 1e-9).floor().max(0.0);
    *rest -= whole;
    whole as u64
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 9 quadrillion")]
const fn number(count: u64) -> f64 {
    count as f64
}
