//! Alarms on the metrics that are sent, from the same indicators that alert rules watch.

use std::{fmt, time::Duration};

use serde_json::{Value, json};
use steeple_core::text;
use steeple_metrics::indicator::{Indicator, Measure, Selector};

use crate::{
    BuildError,
    collect::{Scheme, aborted_name, names},
    datum::dimension_value,
    limits::MAX_NAME,
};

/// When an indicator is worth an alarm in CloudWatch.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_cloudwatch::{Alarm, CloudWatch};
/// use steeple_metrics::indicator::Indicator;
///
/// # fn main() -> Result<(), steeple_cloudwatch::BuildError> {
/// let slow = Alarm::new("slow_response_time", Indicator::mean(), Duration::from_secs(300)).above(2.0);
/// let [slow] = &CloudWatch::builder("shop").service("api").alarms(&[slow])?[..] else { unreachable!() };
/// assert_eq!(slow.name(), "api-slow_response_time");
/// assert_eq!(slow.to_json()["MetricName"], "Latency");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an alarm does nothing until it is defined and put"]
pub struct Alarm {
    name: String,
    indicator: Indicator,
    window: Duration,
    threshold: f64,
    is_below: bool,
    hold: Duration,
    min_samples: u64,
    min_bad: u64,
    description: Option<String>,
    actions: Vec<String>,
}

/// Where missing data are concerned: series that exist only when something happens are fine without.
const QUIET: &str = "notBreaching";
/// What every process sends each minute: without it nothing is known.
const UNKNOWN: &str = "missing";

impl Alarm {
    /// An alarm on the last `window` of an indicator. It needs a threshold: [`above`](Self::above) or [`below`](Self::below).
    pub fn new(name: impl Into<String>, indicator: Indicator, window: Duration) -> Self {
        Self {
            name: name.into(),
            indicator,
            window,
            threshold: f64::NAN,
            is_below: false,
            hold: Duration::ZERO,
            min_samples: 0,
            min_bad: 0,
            description: None,
            actions: Vec::new(),
        }
    }

    /// Alarms above this value, in the indicator's unit: a ratio from 0 to 1, seconds, a number.
    pub fn above(mut self, threshold: f64) -> Self {
        (self.threshold, self.is_below) = (threshold, false);
        self
    }

    /// Alarms below this value.
    pub fn below(mut self, threshold: f64) -> Self {
        (self.threshold, self.is_below) = (threshold, true);
        self
    }

    /// Alarms after this long beyond the threshold. Default: at once.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Fewer samples than this in the window are fine. Default: 0.
    pub fn min_samples(mut self, samples: u64) -> Self {
        self.min_samples = samples;
        self
    }

    /// Fewer errors than this in the window are fine. Default: 0.
    pub fn min_bad(mut self, samples: u64) -> Self {
        self.min_bad = samples;
        self
    }

    /// What it means, in a sentence. Default: made from the indicator.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// The receiver of a notification when it begins and when it is over: the ARN of an SNS topic. Up to five. Default: nothing, the alarm is shown
    /// in the console alone.
    pub fn action(mut self, arn: impl Into<String>) -> Self {
        self.actions.push(arn.into());
        self
    }

    /// CloudWatch's definition of it.
    pub(crate) fn define(&self, namespace: &str, scheme: &Scheme) -> Result<AlarmDefinition, BuildError> {
        let refuse = |what: &str| BuildError::setting("alarm", format!("of `{}` {what}", self.name));
        self.indicator.check().map_err(|error| BuildError::part("alarm", error))?;
        if !self.threshold.is_finite() {
            return Err(refuse("a finite threshold: `above` or `below`"));
        }
        if self.actions.len() > 5 {
            return Err(refuse("at most five actions"));
        }
        // CloudWatch keeps whole minutes.
        let period = self.window.as_secs().div_ceil(60).max(1).saturating_mul(60);
        let more = self.hold.as_secs().div_ceil(period);
        let periods = more.saturating_add(1);
        if period.saturating_mul(periods) > 86_400 {
            return Err(refuse("a window and a hold of at most a day together"));
        }
        let metric = Metrics { namespace, scheme, period, route: self.indicator.route() };
        let Watched { what, scale, missing } = self.watch(&metric).map_err(refuse)?;
        let mut name: Vec<&str> =
            [&scheme.service, &scheme.environment].into_iter().flatten().map(String::as_str).collect();
        name.push(&self.name);
        let name = name.join("-");
        if !(1..=MAX_NAME).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(refuse("a name of up to 255 characters with its service and environment"));
        }
        let side = if self.is_below { "below" } else { "above" };
        let description = self.description.clone();
        let description = description.unwrap_or_else(|| format!("{} is {side} {}.", self.indicator, self.threshold));
        let mut json = json!({
            "AlarmName": name,
            "AlarmDescription": text::cut(&description, 1_024),
            "EvaluationPeriods": periods,
            "DatapointsToAlarm": periods,
            "Threshold": crate::datum::rounded(self.threshold * scale, 12),
            "ComparisonOperator": if self.is_below { "LessThanThreshold" } else { "GreaterThanThreshold" },
            "TreatMissingData": missing,
            "ActionsEnabled": true,
        });
        if let Some(fields) = json.as_object_mut() {
            if !self.actions.is_empty() {
                fields.insert("AlarmActions".to_owned(), json!(self.actions));
                fields.insert("OKActions".to_owned(), json!(self.actions));
            }
            if let Value::Object(what) = what {
                fields.extend(what);
            }
        }
        Ok(AlarmDefinition { name, json })
    }

    fn watch(&self, metric: &Metrics<'_>) -> Result<Watched, &'static str> {
        #[expect(clippy::cast_precision_loss, reason = "a day of seconds at most")]
        let seconds = metric.period as f64;
        let percentile = |q: f64| format!("p{}", crate::datum::rounded(q * 100.0, 10));
        let base = || metric.scheme.with([]);
        let one = |name: &str, stat: &str, missing| {
            let dimensions = metric.scheme.with([]);
            Watched::new(metric.one(name, &dimensions, stat), missing)
        };
        let requests = metric.requests();
        Ok(match self.indicator.measure() {
            Measure::ErrorRatio => {
                let parts = [
                    metric.part("m1", names::ERRORS, &requests, "Sum"),
                    metric.part("m2", names::REQUESTS, &requests, "Sum"),
                ];
                Watched::new(Metrics::math(parts, &self.guarded("m1/m2", "m2", Some("m1"))), QUIET)
            }
            Measure::AbortedRatio(outcome) => {
                if metric.route.is_some() {
                    return Err("an outcome of all requests: CloudWatch does not get it by route");
                }
                let parts = [
                    metric.part("m1", aborted_name(outcome), &requests, "Sum"),
                    metric.part("m2", names::REQUESTS, &requests, "Sum"),
                ];
                Watched::new(Metrics::math(parts, &self.guarded("FILL(m1,0)/m2", "m2", Some("FILL(m1,0)"))), QUIET)
            }
            Measure::Quantile(q) => self.of_samples(metric, names::LATENCY, &requests, &percentile(q)),
            Measure::Mean => self.of_samples(metric, names::LATENCY, &requests, "Average"),
            Measure::SlowRatio(target) => {
                let stat = format!("PR({}:)", target.as_secs_f64());
                self.of_samples(metric, names::LATENCY, &requests, &stat).times(100.0)
            }
            Measure::Rate => {
                let missing = if self.is_below && metric.route.is_none() { UNKNOWN } else { QUIET };
                Watched::new(metric.one(names::REQUESTS, &requests, "Sum"), missing).times(seconds)
            }
            Measure::InFlight => one(names::IN_FLIGHT, "Average", UNKNOWN),
            Measure::ActiveUsers => one(names::ACTIVE_USERS, "Average", UNKNOWN),
            Measure::Cpu => one(names::CPU, "Average", UNKNOWN).times(100.0),
            Measure::CpuThrottled => one(names::CPU_THROTTLED, "Average", QUIET).times(100.0),
            Measure::Memory => one(names::MEMORY, "Average", UNKNOWN).times(100.0),
            Measure::Disk => one(names::DISK, "Average", UNKNOWN).times(100.0),
            Measure::Connections => one(names::CONNECTION_USE, "Average", UNKNOWN).times(100.0),
            Measure::CacheHitRatio => {
                let base = base();
                let parts = [
                    metric.part("m1", names::CACHE_HITS, &base, "Sum"),
                    metric.part("m2", names::CACHE_MISSES, &base, "Sum"),
                ];
                Watched::new(Metrics::math(parts, &self.guarded("m1/(m1+m2)", "(m1+m2)", None)), QUIET)
            }
            Measure::Dropped => one(names::DROPPED, "Sum", QUIET).times(seconds),
            Measure::CounterIncrease(counter) => Watched::new(metric.selected(counter, "Sum")?, QUIET),
            Measure::CounterRate(counter) => Watched::new(metric.selected(counter, "Sum")?, QUIET).times(seconds),
            Measure::CounterRatio(part, whole) => {
                let part = metric.part("m1", part.family(), &metric.dimensions(part)?, "Sum");
                let whole = metric.part("m2", whole.family(), &metric.dimensions(whole)?, "Sum");
                Watched::new(Metrics::math([part, whole], &self.guarded("FILL(m1,0)/m2", "m2", None)), QUIET)
            }
            Measure::Gauge(gauge) => Watched::new(metric.selected(gauge, "Average")?, UNKNOWN),
            Measure::HistogramQuantile(q, histogram) => {
                let dimensions = metric.dimensions(histogram)?;
                self.of_samples(metric, histogram.family(), &dimensions, &percentile(q))
            }
            _ => return Err("an indicator that is known"),
        })
    }

    /// A statistic of samples, of which there may have to be some.
    fn of_samples(&self, metric: &Metrics<'_>, name: &str, dimensions: &[Pair], stat: &str) -> Watched {
        if self.min_samples == 0 {
            return Watched::new(metric.one(name, dimensions, stat), QUIET);
        }
        let parts = [metric.part("m1", name, dimensions, stat), metric.part("m2", name, dimensions, "SampleCount")];
        Watched::new(Metrics::math(parts, &self.guarded("m1", "m2", None)), QUIET)
    }

    /// An expression that is on the good side of the threshold where there is too little to know.
    fn guarded(&self, value: &str, samples: &str, bad: Option<&str>) -> String {
        let enough = match self.min_samples {
            0 => format!("{samples}>0"),
            samples_needed => format!("{samples}>={samples_needed}"),
        };
        let enough = match (bad, self.min_bad) {
            (Some(bad), 1..) => format!("{enough} AND {bad}>={}", self.min_bad),
            _ => enough,
        };
        // The threshold itself is neither above nor below.
        format!("IF({enough},{value},{})", if self.is_below { self.threshold } else { self.threshold.min(0.0) })
    }
}

type Pair = (std::borrow::Cow<'static, str>, String);

/// What an alarm compares to its threshold.
struct Watched {
    what: Value,
    /// From the indicator's unit to that of the metric.
    scale: f64,
    missing: &'static str,
}

impl Watched {
    fn new(what: Value, missing: &'static str) -> Self {
        Self { what, scale: 1.0, missing }
    }

    fn times(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }
}

/// Names metrics as they are sent.
struct Metrics<'a> {
    namespace: &'a str,
    scheme: &'a Scheme,
    period: u64,
    route: Option<(&'a str, &'a str)>,
}

impl Metrics<'_> {
    fn requests(&self) -> Vec<Pair> {
        match self.route {
            Some((method, route)) => self.scheme.route(method, route).to_vec(),
            None => self.scheme.base(),
        }
    }

    /// The dimensions of what a selector selects, which has to be one metric.
    fn dimensions(&self, selector: &Selector) -> Result<Vec<Pair>, &'static str> {
        let mut pairs = self.scheme.base();
        let mut labels = Vec::new();
        for (label, value, is_equal) in selector.matchers() {
            if !is_equal {
                return Err("labels that have a value: CloudWatch cannot leave one out");
            }
            if !self.scheme.labels.iter().any(|allowed| allowed == label) {
                return Err("labels that are dimensions: `CloudWatchBuilder::labels`");
            }
            labels.push((label, value));
        }
        // In the order in which they are sent.
        labels.sort_by_key(|(label, _)| self.scheme.labels.iter().position(|allowed| allowed == label));
        pairs.extend(labels.into_iter().map(|(label, value)| (label.to_owned().into(), dimension_value(value))));
        Ok(pairs)
    }

    fn selected(&self, selector: &Selector, stat: &str) -> Result<Value, &'static str> {
        Ok(self.one(selector.family(), &self.dimensions(selector)?, stat))
    }

    fn one(&self, name: &str, dimensions: &[Pair], stat: &str) -> Value {
        let plain = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"].contains(&stat);
        json!({
            "Namespace": self.namespace,
            "MetricName": name,
            "Dimensions": listed(dimensions),
            "Period": self.period,
            if plain { "Statistic" } else { "ExtendedStatistic" }: stat,
        })
    }

    fn part(&self, id: &str, name: &str, dimensions: &[Pair], stat: &str) -> Value {
        let metric = json!({"Namespace": self.namespace, "MetricName": name, "Dimensions": listed(dimensions)});
        json!({
            "Id": id,
            "MetricStat": {"Metric": metric, "Period": self.period, "Stat": stat},
            "ReturnData": false,
        })
    }

    fn math(parts: [Value; 2], expression: &str) -> Value {
        let [one, other] = parts;
        json!({"Metrics": [one, other, {"Id": "e1", "Expression": expression, "ReturnData": true}]})
    }
}

fn listed(dimensions: &[Pair]) -> Vec<Value> {
    dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect()
}

/// An alarm as CloudWatch has it. It shows as JSON, which `aws cloudwatch put-metric-alarm --cli-input-json` takes.
///
/// # Source
/// CloudWatch API reference, `PutMetricAlarm`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmDefinition {
    pub(crate) name: String,
    pub(crate) json: Value,
}

impl AlarmDefinition {
    /// Its name: service, environment and name, with `-` between.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything.
    pub fn to_json(&self) -> &Value {
        &self.json
    }
}

impl fmt::Display for AlarmDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CloudWatch;

    const FIVE: Duration = Duration::from_secs(300);

    fn define(alarm: Alarm) -> Result<AlarmDefinition, BuildError> {
        let builder = CloudWatch::builder("shop").service("api").environment("production");
        builder.alarms(&[alarm]).map(|mut alarms| alarms.remove(0))
    }

    #[test]
    fn an_alarm_is_as_the_documentation_shows_it() {
        let failed = Selector::new("payments_total").label("result", "failed");
        let alarm = Alarm::new("payment_failures", Indicator::counter_increase(failed), FIVE).above(3.0);
        let shown = define(alarm.description("More than 3 payments failed.")).unwrap().to_string();
        assert!(include_str!("../tests/data/aws.md").contains(&shown), "{shown}");
    }

    #[track_caller]
    fn check(alarm: Alarm, fields: &[(&str, Value)]) {
        let alarm = define(alarm).unwrap();
        for (field, want) in fields {
            let mut found = alarm.to_json();
            for part in field.split('.') {
                found = part.parse::<usize>().map_or_else(|_name| &found[part], |place| &found[place]);
            }
            assert_eq!(found, want, "{field} of {alarm}");
        }
    }

    #[test]
    fn each_indicator_is_the_metric_that_is_sent_in_its_unit() {
        let alarm = |indicator| Alarm::new("a", indicator, FIVE).above(0.5);
        check(
            alarm(Indicator::cpu()),
            &[
                ("MetricName", json!("CPUUtilization")),
                ("Threshold", json!(50.0)),
                ("TreatMissingData", json!("missing")),
            ],
        );
        check(alarm(Indicator::mean()), &[("MetricName", json!("Latency")), ("Statistic", json!("Average"))]);
        check(
            alarm(Indicator::quantile(0.999).of("POST", "/pay")),
            &[
                ("ExtendedStatistic", json!("p99.9")),
                ("Dimensions.2", json!({"Name": "Route", "Value": "POST /pay"})),
                ("TreatMissingData", json!("notBreaching")),
            ],
        );
        check(
            alarm(Indicator::slow_ratio(Duration::from_secs(2))),
            &[("ExtendedStatistic", json!("PR(2:)")), ("Threshold", json!(50.0))],
        );
        check(alarm(Indicator::rate()), &[("Statistic", json!("Sum")), ("Threshold", json!(150.0))]);
        check(
            alarm(Indicator::error_ratio()),
            &[
                ("Metrics.0.MetricStat.Metric.MetricName", json!("Errors")),
                ("Metrics.2.Expression", json!("IF(m2>0,m1/m2,0)")),
                ("Metrics.2.ReturnData", json!(true)),
            ],
        );
        let guarded = Alarm::new("a", Indicator::error_ratio(), FIVE).above(0.05).min_samples(20).min_bad(3);
        check(guarded, &[("Metrics.2.Expression", json!("IF(m2>=20 AND m1>=3,m1/m2,0)"))]);
        let few = Alarm::new("a", Indicator::cache_hit_ratio(), FIVE).below(0.9).min_samples(10);
        check(few, &[("Metrics.2.Expression", json!("IF((m1+m2)>=10,m1/(m1+m2),0.9)"))]);
        check(
            Alarm::new("a", Indicator::memory(), Duration::from_secs(61)).above(0.5).hold(Duration::from_secs(130)),
            &[("Period", json!(120)), ("EvaluationPeriods", json!(3)), ("DatapointsToAlarm", json!(3))],
        );
    }

    #[test]
    fn what_cloudwatch_cannot_compute_is_refused() {
        let labelled = |label: &str| Indicator::counter_increase(Selector::new("a_total").label(label, "x"));
        let day = Duration::from_secs(86_400);
        for (alarm, expected) in [
            (Alarm::new("a", Indicator::mean(), FIVE), "threshold"),
            (Alarm::new("a", Indicator::mean(), day).above(1.0).hold(FIVE), "a day"),
            (Alarm::new("a", labelled("method"), FIVE).above(1.0), "dimensions"),
            (
                Alarm::new("a", Indicator::gauge(Selector::new("a").not("result", "x")), FIVE).above(1.0),
                "leave one out",
            ),
            (Alarm::new("x".repeat(250), Indicator::mean(), FIVE).above(1.0), "255"),
            ((0..6).fold(Alarm::new("a", Indicator::mean(), FIVE).above(1.0), |alarm, _| alarm.action("arn")), "five"),
        ] {
            let error = define(alarm).unwrap_err();
            assert!(error.setting_name() == "alarm" && error.to_string().contains(expected), "{error}");
        }
    }
}
