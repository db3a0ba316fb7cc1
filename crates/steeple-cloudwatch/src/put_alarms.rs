//! Sends alarms to CloudWatch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use steeple_core::clock;
use steeple_export::{Answer, DropReason, Endpoint, Pipeline, Protocol, Reason, Request, Response, Retry, Sink};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{
    AlarmDefinition, Aws, BuildError,
    aws::{AwsError, MONITORING},
    sign::STRICT,
};

/// What became of alarms that were put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlarmsReport {
    /// How many CloudWatch has now.
    pub put: u64,
    /// Those that it refused, and why.
    pub refused: Vec<(String, String)>,
    /// How many were not sent in time.
    pub left: u64,
}

impl AlarmsReport {
    /// Whether CloudWatch has all of them.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.left == 0
    }
}

/// Sends alarms to CloudWatch, where each replaces the one of its name. Blocks the thread, for `timeout` at most.
///
/// # Errors
/// As [`CloudWatchBuilder::build`](crate::CloudWatchBuilder::build).
pub fn put_alarms(alarms: &[AlarmDefinition], aws: &Aws, timeout: Duration) -> Result<AlarmsReport, BuildError> {
    let connection = aws.connect(&MONITORING)?;
    let refused = Arc::new(Mutex::new(Vec::new()));
    let (endpoint, refusals) = (connection.endpoint.clone(), Arc::clone(&refused));
    let pipeline = Pipeline::builder("cloudwatch_alarms")
        .max_items(alarms.len())
        .max_bytes(usize::MAX)
        .batch_items(1)
        // CloudWatch takes three alarms a second, and throttles more.
        .retry(Retry::new().base(Duration::from_secs(1)).max_age(timeout))
        .build(move || {
            let put = PutAlarm { endpoint: endpoint.clone(), refused: Arc::clone(&refusals) };
            Ok(connection.speak(put))
        })
        .map_err(|error| BuildError::part("pipeline", error))?;
    for alarm in alarms {
        pipeline.push(alarm.clone());
    }
    let deadline = clock::now().checked_add(timeout).unwrap_or_else(clock::now);
    let left = pipeline.shutdown(deadline).left;
    let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(AlarmsReport { put: pipeline.stats().exported, refused, left })
}

struct PutAlarm {
    endpoint: Endpoint,
    refused: Arc<Mutex<Vec<(String, String)>>>,
}

impl Protocol for PutAlarm {
    type Item = AlarmDefinition;
    type Ready = AlarmDefinition;

    fn size(item: &AlarmDefinition) -> usize {
        item.name.len()
    }

    fn scrub(&mut self, item: AlarmDefinition) -> Scrubbed<AlarmDefinition> {
        // Made of names and thresholds.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<AlarmDefinition>]) -> Result<Request, Reason> {
        let [alarm] = batch else { return Err("one alarm a request".into()) };
        let mut body = String::from("Action=PutMetricAlarm&Version=2010-08-01");
        write(&alarm.json, "", &mut body);
        Ok(Request::post(&self.endpoint).content_type("application/x-www-form-urlencoded; charset=utf-8").body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<AlarmDefinition>]) -> Answer {
        match response.status.as_u16() {
            400 => Answer::rejected(AwsError::of(response).reason(response)),
            _ => Answer::of(response),
        }
    }

    fn dropped(&mut self, ready: &AlarmDefinition, _reason: DropReason, why: &Reason) {
        let refused = (ready.name.clone(), why.to_string());
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(refused);
    }
}

/// Appends a value as parameters of the query protocol.
fn write(value: &Value, key: &str, out: &mut String) {
    let below = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| write(value, &below(name), out)),
        Value::Array(values) => {
            for (number, value) in (1_usize..).zip(values) {
                write(value, &below(&format!("member.{number}")), out);
            }
        }
        Value::Null => (),
        Value::String(text) => pair(key, text, out),
        Value::Bool(_) | Value::Number(_) => pair(key, &value.to_string(), out),
    }
}

fn pair(key: &str, value: &str, out: &mut String) {
    out.push('&');
    out.push_str(key);
    out.push('=');
    out.extend(utf8_percent_encode(value, STRICT));
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use steeple_export::test_util::{Subject, check_all};

    use super::*;

    struct Alarms;

    impl Subject for Alarms {
        type Protocol = PutAlarm;
        const BATCH: usize = 1;

        fn protocol(&self, endpoint: Endpoint) -> PutAlarm {
            PutAlarm { endpoint, refused: Arc::default() }
        }

        fn item(&self, number: usize) -> AlarmDefinition {
            let name = format!("shop-api-production-alarm{number:06}");
            AlarmDefinition { json: json!({"AlarmName": &name}), name }
        }
    }

    #[test]
    fn alarms_pass_every_check_of_a_pipeline() {
        check_all(Alarms);
    }
}
