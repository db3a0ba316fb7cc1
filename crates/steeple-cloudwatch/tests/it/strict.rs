//! A receiver that refuses what CloudWatch refuses, also where moto does not.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use steeple_cloudwatch::{Aws, Credentials};
use steeple_core::{clock, date::rfc3339};
use steeple_export::{
    Retry,
    test_util::{Received, Receiver, Reply},
};

/// The numbers of AWS's references, written down once more: not those of the crate, which they are compared to.
pub(crate) mod aws {
    /// `PutMetricData`: "no more than 1000 different metrics".
    pub(crate) const DATA: usize = 1_000;
    /// `PutMetricData`: "1 MB in size for HTTP POST requests".
    pub(crate) const REQUEST_BYTES: usize = 1_000_000;
    /// `MetricDatum`: "up to 150 unique metric values".
    pub(crate) const VALUES: usize = 150;
    /// `MetricDatum`: at most 30 dimensions; `PutMetricAlarm` the same.
    pub(crate) const DIMENSIONS: usize = 30;
    /// Names of metrics, dimensions, namespaces and alarms.
    pub(crate) const NAME: usize = 255;
    pub(crate) const DIMENSION_VALUE: usize = 1_024;
    /// `MetricDatum`: "from -2^360 to 2^360".
    pub(crate) const LARGEST_POWER: i32 = 360;
    /// `MetricDatum`: "two weeks before the current date, and up to 2 hours after"; `PutLogEvents`: 14 days, 2 hours.
    pub(crate) const OLD_SECONDS: u64 = 1_209_600;
    pub(crate) const AHEAD_SECONDS: u64 = 7_200;
    /// `PutLogEvents`: 10,000 events, 1,048,576 bytes with 26 for each, 24 hours.
    pub(crate) const EVENTS: usize = 10_000;
    pub(crate) const EVENTS_BYTES: usize = 1_048_576;
    pub(crate) const EVENT_OVERHEAD: usize = 26;
    pub(crate) const SPAN_MILLIS: u64 = 86_400_000;
    /// `CreateLogGroup`, `CreateLogStream`.
    pub(crate) const GROUP: usize = 512;
    /// `PutRetentionPolicy`.
    pub(crate) const RETENTION: [u64; 22] =
        [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
    /// `PutMetricAlarm`: a day for periods below an hour, actions, characters of a description and of an expression.
    pub(crate) const ALARM_SECONDS: u64 = 86_400;
    pub(crate) const ACTIONS: usize = 5;
    pub(crate) const DESCRIPTION: usize = 1_024;
    pub(crate) const EXPRESSION: usize = 2_048;
    /// `MetricDataQuery`s of one alarm.
    pub(crate) const QUERIES: usize = 20;
}

/// What it has stored, and what broke a rule.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) data: Vec<Datum>,
    /// How many data each request had.
    pub(crate) batches: Vec<usize>,
    pub(crate) alarms: usize,
    pub(crate) lines: Vec<Line>,
    pub(crate) requests: usize,
    pub(crate) violations: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Datum {
    pub(crate) name: String,
    pub(crate) dimensions: Vec<(String, String)>,
    pub(crate) values: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) stream: String,
    pub(crate) at: u64,
    pub(crate) text: String,
}

/// A receiver that stores what follows the rules. `first` may answer before it reads anything.
pub(crate) struct Strict {
    pub(crate) receiver: Receiver,
    pub(crate) stored: Arc<Mutex<Stored>>,
}

impl Strict {
    pub(crate) fn start(first: impl Fn(&Received, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let stored = Arc::new(Mutex::new(Stored::default()));
        let shared = Arc::clone(&stored);
        let receiver = Receiver::start(move |received, number| {
            if let Some(reply) = first(received, number) {
                return reply;
            }
            answer(&mut shared.lock().unwrap(), received)
        });
        Self { receiver, stored }
    }

    pub(crate) fn aws(&self) -> Aws {
        let credentials = Credentials::new("AKIATEST", "secret");
        Aws::new("eu-central-1").endpoint(format!("http://{}", self.receiver.address())).credentials(credentials)
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let stored = self.stored.lock().unwrap();
        assert!(stored.violations.is_empty(), "{:?}", stored.violations);
    }
}

/// Takes a request as CloudWatch does.
pub(crate) fn answer(stored: &mut Stored, received: &Received) -> Reply {
    stored.requests += 1;
    let outcome = match received.header("x-amz-target") {
        Some("Logs_20140328.PutLogEvents") => put_lines(stored, received),
        Some(target) => administer(target, received),
        None if body(received).starts_with("Action=PutMetricAlarm&") => put_alarm(stored, received),
        None => put_data(stored, received),
    };
    match outcome {
        Ok(body) => Reply::ok(body),
        Err(rule) => {
            stored.violations.push(rule.clone());
            refused(StatusCode::BAD_REQUEST, "InvalidParameterValue", &rule)
        }
    }
}

pub(crate) fn refused(status: StatusCode, code: &str, message: &str) -> Reply {
    let body = json!({"__type": code, "message": message}).to_string();
    Reply::Answer { status, headers: Vec::new(), body }
}

pub(crate) fn body(received: &Received) -> String {
    let mut text = String::new();
    let mut plain = &received.body[..];
    match received.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(plain).read_to_string(&mut text).unwrap(),
        _ => plain.read_to_string(&mut text).unwrap(),
    };
    text
}

const UNITS: [&str; 13] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Bits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Count/Second",
    "None",
];

fn rule(holds: bool, rule: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule.into()) }
}

/// A request of the query protocol.
fn pairs(body: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for pair in body.split('&') {
        let (key, value) = pair.split_once('=').ok_or("a pair")?;
        let value = steeple_core::text::percent_decode(value.as_bytes()).into_owned();
        rule(pairs.insert(key.to_owned(), value).is_none(), format!("{key} twice"))?;
    }
    Ok(pairs)
}

/// Groups `member.1.Name` by its number. The numbers begin at 1 and have no gap.
fn members(
    pairs: &BTreeMap<String, String>,
    prefix: &str,
) -> Result<BTreeMap<usize, BTreeMap<String, String>>, String> {
    let mut members: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in pairs {
        let Some(rest) = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(".member.")) else { continue };
        let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
        let number = number.parse().map_err(|_invalid| format!("a number in {key}"))?;
        members.entry(number).or_default().insert(field.to_owned(), value.clone());
    }
    rule(members.keys().copied().eq(1..=members.len()), format!("numbers of {prefix}"))?;
    Ok(members)
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.is_ascii() && !text.trim().is_empty()
}

fn dimensions(pairs: &BTreeMap<String, String>, prefix: &str) -> Result<Vec<(String, String)>, String> {
    let mut dimensions = Vec::new();
    for fields in members(pairs, prefix)?.into_values() {
        let (name, value) = fields.get("Name").zip(fields.get("Value")).ok_or("a dimension without a part")?;
        rule(
            is_text(name, aws::NAME) && is_text(value, aws::DIMENSION_VALUE) && !name.starts_with(':'),
            format!("{name}={value}"),
        )?;
        dimensions.push((name.clone(), value.clone()));
    }
    rule(dimensions.len() <= aws::DIMENSIONS, format!("{} dimensions", dimensions.len()))?;
    let names: HashSet<_> = dimensions.iter().map(|(name, _)| name).collect();
    rule(names.len() == dimensions.len(), "a dimension twice")?;
    Ok(dimensions)
}

fn is_namespace(name: &str) -> bool {
    is_text(name, aws::NAME) && !name.starts_with(':') && !name.starts_with("AWS/")
}

fn put_data(stored: &mut Stored, received: &Received) -> Result<String, String> {
    let body = body(received);
    rule(body.len() <= aws::REQUEST_BYTES, format!("{} bytes", body.len()))?;
    let pairs = pairs(&body)?;
    rule(pairs.get("Namespace").is_some_and(|name| is_namespace(name)), "namespace")?;
    let data = members(&pairs, "MetricData")?;
    rule((1..=aws::DATA).contains(&data.len()), format!("{} data", data.len()))?;
    let now = clock::unix_now();
    let oldest = rfc3339(now.saturating_sub(Duration::from_secs(aws::OLD_SECONDS)));
    let newest = rfc3339(now + Duration::from_secs(aws::AHEAD_SECONDS));
    let mut accepted = Vec::new();
    for fields in data.into_values() {
        let listed = |prefix: &str| {
            let found = (1..).map_while(|number| fields.get(&format!("{prefix}.member.{number}")).cloned());
            found.collect::<Vec<_>>()
        };
        let name = fields.get("MetricName").cloned().unwrap_or_default();
        rule(is_text(&name, aws::NAME) && !name.starts_with(':'), format!("name {name}"))?;
        let dimensions = dimensions(&fields, "Dimensions")?;
        let mut values: Vec<f64> = listed("Values").iter().map(|value| value.parse().unwrap()).collect();
        let mut counts: Vec<f64> = listed("Counts").iter().map(|count| count.parse().unwrap()).collect();
        if let Some(value) = fields.get("Value") {
            rule(values.is_empty(), "value and values")?;
            (values, counts) = (vec![value.parse().unwrap()], vec![1.0]);
        }
        rule(values.len() == counts.len() && (1..=aws::VALUES).contains(&values.len()), "values")?;
        let unique: HashSet<_> = values.iter().map(|value| value.to_bits()).collect();
        rule(unique.len() == values.len(), "a value twice")?;
        rule(values.iter().all(|value| value.is_finite() && value.abs() <= 2_f64.powi(aws::LARGEST_POWER)), "range")?;
        rule(counts.iter().all(|count| *count > 0.0), "counts")?;
        rule(UNITS.contains(&&*fields["Unit"]), format!("unit {}", fields["Unit"]))?;
        let at = fields.get("Timestamp").map_or("", String::as_str);
        rule(at.len() == oldest.len() && at.ends_with('Z'), format!("timestamp {at}"))?;
        // Texts of one length are in the order of their times.
        rule(*oldest <= *at && *at <= *newest, format!("a time of {at}"))?;
        rule(name != "Poison", "poison")?;
        accepted.push(Datum { name, dimensions, values: values.into_iter().zip(counts).collect() });
    }
    stored.batches.push(accepted.len());
    stored.data.extend(accepted);
    Ok("<PutMetricDataResponse/>".to_owned())
}

/// Groups, streams and how long they are kept.
fn administer(target: &str, received: &Received) -> Result<String, String> {
    let request: Value = serde_json::from_slice(&received.body).map_err(|error| error.to_string())?;
    let text = |field: &str| request[field].as_str().unwrap_or_default();
    rule(is_group(text("logGroupName")), "group")?;
    match target {
        "Logs_20140328.CreateLogGroup" => Ok(String::new()),
        "Logs_20140328.CreateLogStream" => {
            rule(is_stream(text("logStreamName")), "stream")?;
            Ok(String::new())
        }
        "Logs_20140328.PutRetentionPolicy" => {
            let days = request["retentionInDays"].as_u64().unwrap_or_default();
            rule(aws::RETENTION.contains(&days), format!("{days} days"))?;
            Ok(String::new())
        }
        other => Err(format!("no such operation: {other}")),
    }
}

fn is_group(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte);
    (1..=aws::GROUP).contains(&name.len()) && name.bytes().all(is_allowed) && !name.starts_with("aws/")
}

fn is_stream(name: &str) -> bool {
    !name.contains([':', '*']) && (1..=aws::GROUP).contains(&name.len())
}

/// An alarm on one metric, or on an expression.
fn put_alarm(stored: &mut Stored, received: &Received) -> Result<String, String> {
    let pairs = pairs(&body(received))?;
    let text = |key: &str| pairs.get(key).map_or("", String::as_str);
    let number = |key: &str| text(key).parse::<u64>().unwrap_or_default();
    rule(is_text(text("AlarmName"), aws::NAME), "alarm's name")?;
    rule(text("AlarmDescription").chars().count() <= aws::DESCRIPTION, "description")?;
    for actions in ["AlarmActions", "OKActions"] {
        let count = members(&pairs, actions)?.len();
        rule(count <= aws::ACTIONS, format!("{count} {actions}"))?;
    }
    let periods = number("EvaluationPeriods");
    rule(periods >= 1 && (1..=periods).contains(&number("DatapointsToAlarm")), "periods")?;
    rule(text("Threshold").parse::<f64>().is_ok_and(f64::is_finite), "threshold")?;
    rule(["GreaterThanThreshold", "LessThanThreshold"].contains(&text("ComparisonOperator")), "operator")?;
    rule(["breaching", "notBreaching", "ignore", "missing"].contains(&text("TreatMissingData")), "missing data")?;
    let period = |pairs: &BTreeMap<String, String>, key: &str| {
        let seconds = pairs.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let is_period = [10, 20, 30].contains(&seconds) || (seconds > 0 && seconds.is_multiple_of(60));
        // Longer than a day is for periods of hours, which need more of it than we use.
        rule(is_period && seconds * periods <= aws::ALARM_SECONDS, format!("{periods} periods of {seconds} s"))
    };
    let metric = |pairs: &BTreeMap<String, String>, prefix: &str| {
        let text = |key: &str| pairs.get(&format!("{prefix}{key}")).map_or("", String::as_str);
        rule(is_text(text("MetricName"), aws::NAME) && is_namespace(text("Namespace")), "metric")?;
        dimensions(pairs, &format!("{prefix}Dimensions")).map(|_| ())
    };
    let queries = members(&pairs, "Metrics")?;
    if queries.is_empty() {
        metric(&pairs, "")?;
        period(&pairs, "Period")?;
        rule(is_statistic(text("Statistic")) != is_percentile(text("ExtendedStatistic")), "one statistic")?;
    } else {
        let own = ["MetricName", "Namespace", "Period", "Statistic", "ExtendedStatistic"];
        rule(!own.iter().any(|key| pairs.contains_key(*key)), "a metric beside an expression")?;
        rule(queries.len() <= aws::QUERIES, "queries")?;
        let returned = queries.values().filter(|query| query.get("ReturnData").is_none_or(|is| is == "true"));
        rule(returned.count() == 1, "one query is the value")?;
        let ids: HashSet<_> = queries.values().filter_map(|query| query.get("Id")).collect();
        let is_id = |id: &&String| id.starts_with(|c: char| c.is_ascii_lowercase()) && id.len() <= aws::NAME;
        rule(ids.len() == queries.len() && ids.iter().all(is_id), "ids")?;
        for query in queries.values() {
            if let Some(expression) = query.get("Expression") {
                rule((1..=aws::EXPRESSION).contains(&expression.len()), "expression")?;
                continue;
            }
            metric(query, "MetricStat.Metric.")?;
            period(query, "MetricStat.Period")?;
            let stat = query.get("MetricStat.Stat").map_or("", String::as_str);
            rule(is_statistic(stat) || is_percentile(stat), format!("statistic {stat}"))?;
        }
    }
    stored.alarms += 1;
    Ok("<PutMetricAlarmResponse/>".to_owned())
}

fn is_statistic(name: &str) -> bool {
    ["SampleCount", "Average", "Sum", "Minimum", "Maximum"].contains(&name)
}

/// `p95`, `p99.9`; `PR(0.3:)`.
fn is_percentile(name: &str) -> bool {
    let is_number = |text: &str, most: f64| text.parse::<f64>().is_ok_and(|number| (0.0..=most).contains(&number));
    let rank = name.strip_prefix("PR(").and_then(|rest| rest.strip_suffix(":)"));
    name.strip_prefix('p').is_some_and(|text| is_number(text, 100.0)) || rank.is_some_and(|text| is_number(text, 1e9))
}

fn put_lines(stored: &mut Stored, received: &Received) -> Result<String, String> {
    let request: Value = serde_json::from_slice(&received.body).map_err(|error| error.to_string())?;
    let stream = request["logStreamName"].as_str().unwrap_or_default();
    rule(is_group(request["logGroupName"].as_str().unwrap_or_default()), "group")?;
    rule(is_stream(stream), "stream")?;
    let events = request["logEvents"].as_array().ok_or("no events")?;
    rule((1..=aws::EVENTS).contains(&events.len()), format!("{} events", events.len()))?;
    let event = |event: &Value| Line {
        stream: stream.to_owned(),
        at: event["timestamp"].as_u64().unwrap_or_default(),
        text: event["message"].as_str().unwrap_or_default().to_owned(),
    };
    let events: Vec<_> = events.iter().map(event).collect();
    let bytes: usize = events.iter().map(|event| event.text.len() + aws::EVENT_OVERHEAD).sum();
    rule(bytes <= aws::EVENTS_BYTES, format!("{bytes} bytes"))?;
    rule(events.iter().all(|event| !event.text.is_empty()), "an empty line")?;
    rule(events.is_sorted_by_key(|event| event.at), "not in the order of their times")?;
    let span = events.last().unwrap().at - events[0].at;
    rule(span <= aws::SPAN_MILLIS, format!("a span of {span} ms"))?;
    let now = u64::try_from(clock::unix_now().as_millis()).unwrap();
    let too_old = events.iter().filter(|event| event.at + aws::OLD_SECONDS * 1_000 < now).count();
    let too_new = events.iter().position(|event| event.at > now + aws::AHEAD_SECONDS * 1_000);
    let good = too_old..too_new.unwrap_or(events.len());
    stored.lines.extend_from_slice(&events[good.clone()]);
    if good.len() == events.len() {
        return Ok("{}".to_owned());
    }
    let mut rejected = json!({});
    if too_old > 0 {
        rejected["tooOldLogEventEndIndex"] = too_old.into();
    }
    if let Some(too_new) = too_new {
        rejected["tooNewLogEventStartIndex"] = too_new.into();
    }
    Ok(json!({"rejectedLogEventsInfo": rejected}).to_string())
}

pub(crate) fn fast() -> Retry {
    Retry::new().base(Duration::from_millis(2)).cap(Duration::from_millis(20))
}
