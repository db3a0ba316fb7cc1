//! An OTLP receiver on OpenTelemetry's own protobuf classes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::peer::{self, Peer};

/// A running receiver.
#[derive(Debug)]
pub struct Otlp {
    receiver: Peer,
    http: u64,
}

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_SERVER` and the like.
    pub kind: String,
    /// `STATUS_CODE_ERROR`; empty where it is unset.
    pub status: String,
    /// Of its trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its own, in hexadecimal digits.
    pub span_id: String,
    /// Of the span above; empty for a root.
    pub parent_id: String,
    /// By name: the protocol's word for the type, and the value as text.
    pub attributes: BTreeMap<String, (String, String)>,
    /// The same of the process that sent it.
    pub resource: BTreeMap<String, (String, String)>,
    /// The types of the exceptions among its events.
    pub exceptions: Vec<String>,
}

/// A log record as it arrived.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its text.
    pub body: String,
    /// `INFO` and the like.
    pub severity: String,
    /// Of its scope: the target of the event.
    pub scope: String,
    /// Of its trace, in hexadecimal digits; empty without one.
    pub trace_id: String,
    /// Of its span, in hexadecimal digits; empty without one.
    pub span_id: String,
    /// By name: the protocol's word for the type, and the value as text.
    pub attributes: BTreeMap<String, (String, String)>,
}

impl Span {
    /// The value of an attribute as text; empty without one.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", |(_, value)| value)
    }
}

impl Otlp {
    /// Starts one. `None`, which is logged, if it is not on this machine.
    pub async fn start() -> Option<Self> {
        let python = peer::find_in("otlp", "python")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/steeple-trace/tests/data/receiver.py");
        let mut receiver = Peer::start(&python, |_, _| vec![script, "0", "0"]).expect("the receiver starts");
        let log = receiver.directory().join("log");
        let first = receiver
            .until(|_| {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                async move { serde_json::from_str::<Value>(said.split_once('\n')?.0).ok() }
            })
            .await;
        Some(Self { receiver, http: first["http"].as_u64().unwrap() })
    }

    /// Where it takes what comes over HTTP, without the path of a signal.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// All spans so far.
    ///
    /// # Panics
    /// When the receiver's output is not JSON.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for message in self.messages() {
            for resource in list(&message["resourceSpans"]) {
                for span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
                    spans.push(span_of(span, &resource["resource"]));
                }
            }
        }
        spans
    }

    /// All log records so far.
    ///
    /// # Panics
    /// When the receiver's output is not JSON.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for message in self.messages() {
            for scope in list(&message["resourceLogs"]).iter().flat_map(|resource| list(&resource["scopeLogs"])) {
                records.extend(list(&scope["logRecords"]).iter().map(|record| record_of(record, &scope["scope"])));
            }
        }
        records
    }

    /// The metrics of each request so far, by name, as protobuf's own JSON has them.
    ///
    /// # Panics
    /// When the receiver's output is not JSON, or a metric comes twice in a request.
    pub fn metrics(&self) -> Vec<BTreeMap<String, Value>> {
        let mut requests = Vec::new();
        for message in self.messages() {
            let resources = list(&message["resourceMetrics"]);
            let scopes = resources.iter().flat_map(|resource| list(&resource["scopeMetrics"]));
            let mut metrics = BTreeMap::new();
            for metric in scopes.flat_map(|scope| list(&scope["metrics"])) {
                let before = metrics.insert(text(&metric["name"]), metric.clone());
                assert!(before.is_none(), "twice: {metric}");
            }
            if !resources.is_empty() {
                requests.push(metrics);
            }
        }
        requests
    }

    /// The sent data, request by request.
    fn messages(&self) -> Vec<Value> {
        let log = self.receiver.log();
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}"));
        log.lines().skip(1).map(|line| read(line)["message"].take()).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

fn attributes(holder: &Value) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    for attribute in list(&holder["attributes"]) {
        let (kind, value) = attribute["value"].as_object().and_then(|value| value.iter().next()).unwrap();
        let before = all.insert(text(&attribute["key"]), (kind.clone(), text(value)));
        assert!(before.is_none(), "twice: {attribute}");
    }
    all
}

fn span_of(span: &Value, resource: &Value) -> Span {
    let exceptions = list(&span["events"]).iter().filter(|event| event["name"] == "exception");
    Span {
        name: text(&span["name"]),
        kind: text(&span["kind"]),
        status: text(&span["status"]["code"]),
        trace_id: id(&span["traceId"]),
        span_id: id(&span["spanId"]),
        parent_id: id(&span["parentSpanId"]),
        attributes: attributes(span),
        resource: attributes(resource),
        exceptions: exceptions.map(|event| attributes(event)["exception.type"].1.clone()).collect(),
    }
}

fn record_of(record: &Value, scope: &Value) -> Record {
    Record {
        body: text(&record["body"]["stringValue"]),
        severity: text(&record["severityText"]),
        scope: text(&scope["name"]),
        trace_id: id(&record["traceId"]),
        span_id: id(&record["spanId"]),
        attributes: attributes(record),
    }
}

/// Hexadecimal digits of an id that protobuf's own JSON has in base64.
fn id(value: &Value) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut hex) = (0_u32, 0, String::new());
    for digit in text(value).bytes().filter(|digit| *digit != b'=') {
        let six = DIGITS.iter().position(|known| *known == digit).expect("base64");
        bits = ((bits << 6) | u32::try_from(six).unwrap()) & 0xFFF;
        count += 6;
        while count >= 4 {
            count -= 4;
            hex.push(char::from_digit((bits >> count) & 0xF, 16).unwrap());
        }
    }
    // Six bits a digit do not end where a byte does: the remaining bits are padding.
    hex.truncate(hex.len() / 2 * 2);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_hexadecimal_digits_of_their_bytes() {
        assert_eq!(id(&"CvdlGRbNQ92ESOshHIAxnA==".into()), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(id(&"t61rcWkgMzE=".into()), "b7ad6b7169203331");
        assert_eq!(id(&Value::Null), "");
    }
}
