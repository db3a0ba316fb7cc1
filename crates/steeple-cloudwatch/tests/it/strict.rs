//! A receiver that refuses what CloudWatch refuses, also where moto does not.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use steeple_cloudwatch::{Aws, Credentials, limits};
use steeple_core::clock;
use steeple_export::{
    Retry,
    test_util::{Received, Receiver, Reply},
};

/// What it has stored, and what broke a rule.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) data: Vec<Datum>,
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
        Some(_) => Ok("{}".to_owned()),
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

fn put_data(stored: &mut Stored, received: &Received) -> Result<String, String> {
    let body = body(received);
    rule(body.len() <= 1_000_000, format!("{} bytes", body.len()))?;
    let mut namespace = String::new();
    let mut data: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    for pair in body.split('&') {
        let (key, value) = pair.split_once('=').unwrap();
        let value = steeple_core::text::percent_decode(value.as_bytes()).into_owned();
        match key.strip_prefix("MetricData.member.") {
            Some(rest) => {
                let (number, field) = rest.split_once('.').unwrap();
                data.entry(number.parse().unwrap()).or_default().insert(field.to_owned(), value);
            }
            None if key == "Namespace" => namespace = value,
            None => (),
        }
    }
    rule(!namespace.is_empty() && !namespace.starts_with("AWS/"), "namespace")?;
    rule((1..=limits::MAX_DATA).contains(&data.len()), format!("{} data", data.len()))?;
    rule(data.keys().copied().eq(1..=data.len()), "numbers of data")?;
    let mut accepted = Vec::new();
    for fields in data.into_values() {
        let listed = |prefix: &str, suffix: &str| {
            let found = (1..).map_while(|number| fields.get(&format!("{prefix}.member.{number}{suffix}")).cloned());
            found.collect::<Vec<_>>()
        };
        let name = fields["MetricName"].clone();
        rule((1..=255).contains(&name.len()) && name.is_ascii() && !name.starts_with(':'), format!("name {name}"))?;
        let dimensions: Vec<_> =
            listed("Dimensions", ".Name").into_iter().zip(listed("Dimensions", ".Value")).collect();
        rule(dimensions.len() <= 30, format!("{} dimensions", dimensions.len()))?;
        let names: HashSet<_> = dimensions.iter().map(|(name, _)| name).collect();
        rule(names.len() == dimensions.len(), "a dimension twice")?;
        for (name, value) in &dimensions {
            let is_text =
                |text: &str, most| (1..=most).contains(&text.len()) && text.is_ascii() && !text.trim().is_empty();
            rule(is_text(name, 255) && is_text(value, 1_024) && !name.starts_with(':'), format!("{name}={value}"))?;
        }
        let mut values: Vec<f64> = listed("Values", "").iter().map(|value| value.parse().unwrap()).collect();
        let mut counts: Vec<f64> = listed("Counts", "").iter().map(|count| count.parse().unwrap()).collect();
        if let Some(value) = fields.get("Value") {
            rule(values.is_empty(), "value and values")?;
            (values, counts) = (vec![value.parse().unwrap()], vec![1.0]);
        }
        rule(values.len() == counts.len() && (1..=limits::MAX_VALUES).contains(&values.len()), "values")?;
        let unique: HashSet<_> = values.iter().map(|value| value.to_bits()).collect();
        rule(unique.len() == values.len(), "a value twice")?;
        rule(values.iter().all(|value| value.is_finite() && value.abs() <= 2_f64.powi(360)), "range")?;
        rule(counts.iter().all(|count| *count > 0.0), "counts")?;
        rule(UNITS.contains(&&*fields["Unit"]), format!("unit {}", fields["Unit"]))?;
        rule(fields["Timestamp"].len() == 20 && fields["Timestamp"].ends_with('Z'), "timestamp")?;
        rule(name != "Poison", "poison")?;
        accepted.push(Datum { name, dimensions, values: values.into_iter().zip(counts).collect() });
    }
    stored.data.extend(accepted);
    Ok("<PutMetricDataResponse/>".to_owned())
}

fn put_lines(stored: &mut Stored, received: &Received) -> Result<String, String> {
    let request: Value = serde_json::from_slice(&received.body).unwrap();
    let stream = request["logStreamName"].as_str().unwrap();
    rule(!stream.contains([':', '*']) && (1..=512).contains(&stream.len()), "stream")?;
    let events = request["logEvents"].as_array().unwrap();
    rule((1..=limits::MAX_EVENTS).contains(&events.len()), format!("{} events", events.len()))?;
    let event = |event: &Value| Line {
        stream: stream.to_owned(),
        at: event["timestamp"].as_u64().unwrap(),
        text: event["message"].as_str().unwrap().to_owned(),
    };
    let events: Vec<_> = events.iter().map(event).collect();
    let bytes: usize = events.iter().map(|event| event.text.len() + limits::EVENT_OVERHEAD).sum();
    rule(bytes <= limits::MAX_EVENTS_BYTES, format!("{bytes} bytes"))?;
    rule(events.iter().all(|event| !event.text.is_empty()), "an empty line")?;
    rule(events.is_sorted_by_key(|event| event.at), "not in the order of their times")?;
    let span = events.last().unwrap().at - events[0].at;
    rule(span <= limits::MAX_EVENTS_SPAN_MILLIS, format!("a span of {span} ms"))?;
    let now = u64::try_from(clock::unix_now().as_millis()).unwrap();
    let too_old = events.iter().filter(|event| event.at + limits::MAX_AGE_SECONDS * 1_000 < now).count();
    let too_new = events.iter().position(|event| event.at > now + limits::MAX_AHEAD_SECONDS * 1_000);
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
