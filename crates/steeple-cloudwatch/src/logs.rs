//! Lines to CloudWatch Logs.
//!
//! # Source
//! CloudWatch Logs API reference, `PutLogEvents`, `CreateLogGroup`, `CreateLogStream`, `PutRetentionPolicy`.

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use steeple_core::{clock, date::date, text};
use steeple_export::{
    Answer, DropReason, Endpoint, Exporter, Pipeline, Protocol, Reason, Request, Response, Retry, Sink, Unauthorized,
    Verdict,
};
use steeple_log::{LogLine, LogOutput};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{
    Aws, BuildError,
    aws::{AwsError, Connection, LOGS, Signed},
    limits::{
        EVENT_OVERHEAD, MAX_AGE_SECONDS, MAX_AHEAD_SECONDS, MAX_EVENT_BYTES, MAX_EVENTS, MAX_EVENTS_BYTES,
        MAX_EVENTS_SPAN_MILLIS, RETENTION_DAYS,
    },
};

/// Lines to CloudWatch Logs: an output of steeple-log.
///
/// One stream for each process and day. Group, stream and retention are made when they are not there, and again when they
/// have vanished. Lines of one request are in the order of their times.
///
/// # Examples
/// ```no_run
/// use steeple_cloudwatch::{Aws, CloudWatchLogs, Credentials};
/// use steeple_log::{Format, Log};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let aws = Aws::new("eu-central-1").credentials(Credentials::new("AKIA…", "…"));
/// let lines = CloudWatchLogs::builder().service("api").environment("production").build(&aws)?;
/// let sink = lines.sink(); // shut it down after the log
/// let guard = Log::builder().output(lines, Format::Json).init()?;
/// # drop((guard, sink));
/// # Ok(()) }
/// ```
pub struct CloudWatchLogs {
    pipeline: Pipeline<Event>,
    group: Arc<str>,
}

/// Options of [`CloudWatchLogs`]. Made by [`CloudWatchLogs::builder`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct CloudWatchLogsBuilder {
    group: Option<String>,
    stream: Option<String>,
    service: Option<String>,
    environment: Option<String>,
    retention_days: u16,
    max_items: usize,
    max_bytes: usize,
    retry: Retry,
    batch_delay: Duration,
}

impl CloudWatchLogsBuilder {
    /// The group. Default: `/aws/ecs/<service>-<environment>`.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// The beginning of the streams' names; the day comes after it. Default: `<service>/<process id>-<start>`, which no other
    /// process has.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self
    }

    /// The service, in the names of group and streams. Default: `service`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The environment, in the name of the group. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// How many days lines are kept, one of [`RETENTION_DAYS`]. Set when the group is made: a group that exists keeps
    /// its own. Default: 30.
    pub fn retention_days(mut self, days: u16) -> Self {
        self.retention_days = days;
        self
    }

    /// How many lines, and how many bytes of them, wait at most. What exceeds it is dropped and counted. Default: 100,000 and
    /// 64 MiB.
    pub fn max_queue(mut self, items: usize, bytes: usize) -> Self {
        (self.max_items, self.max_bytes) = (items, bytes);
        self
    }

    /// How often a delivery is tried again, and how long after. Default: [`Retry::default`] for up to a day, after
    /// which lines are too far apart anyway.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long lines gather before they are sent. Default: 5 seconds.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.batch_delay = delay;
        self
    }

    /// Starts the pipeline.
    ///
    /// # Errors
    /// [`BuildError::setting_name`] has what is not usable: `group`, `stream`, `retention_days`; `region`, `credentials`, `endpoint`
    /// and `client` of AWS.
    pub fn build(self, aws: &Aws) -> Result<CloudWatchLogs, BuildError> {
        let service = self.service.as_deref().map_or_else(|| "service".to_owned(), named);
        let group = self.group.clone().unwrap_or_else(|| match &self.environment {
            Some(environment) => format!("/aws/ecs/{service}-{}", named(environment)),
            None => format!("/aws/ecs/{service}"),
        });
        let stream = self.stream.clone().unwrap_or_else(|| {
            let started = clock::unix_now().as_millis();
            format!("{service}/{}-{started}", std::process::id())
        });
        if !is_group(&group) {
            return Err(BuildError::setting(
                "group",
                "1 to 512 letters, digits and `._-/#`, not beginning with `aws/`",
            ));
        }
        if stream.is_empty() || stream.len() > 480 || stream.contains([':', '*']) || stream.contains(char::is_control) {
            return Err(BuildError::setting("stream", "1 to 480 characters without `:` and `*`"));
        }
        if !RETENTION_DAYS.contains(&self.retention_days) {
            return Err(BuildError::setting("retention_days", format!("one of {RETENTION_DAYS:?}")));
        }
        let connection = aws.connect(&LOGS)?;
        let group: Arc<str> = group.into();
        let place = Place { group: Arc::clone(&group), stream: stream.into(), retention_days: self.retention_days };
        let pipeline = Pipeline::builder("cloudwatch_logs")
            .max_items(self.max_items)
            .max_bytes(self.max_bytes)
            .batch_items(MAX_EVENTS)
            .batch_bytes(MAX_EVENTS_BYTES)
            .batch_delay(self.batch_delay)
            .retry(self.retry)
            .unauthorized(Unauthorized::Keep)
            .build(move || Ok(Shipper::new(&connection, &place)))
            .map_err(|error| BuildError::part("pipeline", error))?;
        Ok(CloudWatchLogs { pipeline, group })
    }
}

/// A name as part of a group's name.
fn named(name: &str) -> String {
    let allowed = |char: &char| char.is_ascii_alphanumeric() || "._-/#".contains(*char);
    let text: String = name.chars().map(|char| if allowed(&char) { char } else { '_' }).take(128).collect();
    if text.is_empty() { "service".to_owned() } else { text }
}

fn is_group(name: &str) -> bool {
    (1..=512).contains(&name.len())
        && !name.starts_with("aws/")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte))
}

impl CloudWatchLogs {
    /// Options, all with a default.
    pub fn builder() -> CloudWatchLogsBuilder {
        CloudWatchLogsBuilder {
            group: None,
            stream: None,
            service: None,
            environment: None,
            retention_days: 30,
            max_items: 100_000,
            max_bytes: 64 << 20,
            retry: Retry::new().max_age(Duration::from_secs(24 * 3_600)),
            batch_delay: Duration::from_secs(5),
        }
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The pipeline, to be flushed and shut down after the log.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.pipeline.clone())
    }

    /// Sends a line of this time, since the Unix epoch: for lines that no log of this process wrote. CloudWatch takes no empty lines.
    pub fn push(&self, line: Scrubbed<&str>, at: Duration) {
        self.send(&line, at);
    }

    fn send(&self, line: &str, at: Duration) {
        if !line.is_empty() {
            let text = text::cut(line, MAX_EVENT_BYTES).into();
            self.pipeline.push(Event { at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX), text });
        }
    }
}

impl LogOutput for CloudWatchLogs {
    fn name(&self) -> &'static str {
        "cloudwatch"
    }

    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        self.send(line.as_str(), line.timestamp());
        Ok(())
    }
}

impl fmt::Debug for CloudWatchLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchLogs").finish_non_exhaustive()
    }
}

/// A line.
pub(crate) struct Event {
    /// Milliseconds since the Unix epoch.
    at: u64,
    text: Box<str>,
}

/// Where lines go.
#[derive(Clone, Debug)]
struct Place {
    group: Arc<str>,
    stream: Arc<str>,
    retention_days: u16,
}

impl Place {
    /// The stream of the day of a time.
    fn stream_at(&self, at: u64) -> String {
        let (year, month, day) = date(at / 1_000);
        format!("{}/{year:04}-{month:02}-{day:02}", self.stream)
    }
}

/// Makes streams where there are none, and puts lines into them.
struct Shipper {
    put: Signed<Put>,
    set_up: Signed<SetUp>,
    place: Place,
    /// Streams that are there.
    ready: BTreeSet<String>,
    /// The stream of the batch that was prepared last.
    stream: String,
}

/// Most streams that are remembered: a month of days.
const MAX_READY: usize = 31;

impl Shipper {
    fn new(connection: &Connection, place: &Place) -> Self {
        let endpoint = connection.endpoint.clone();
        Self {
            put: connection.speak(Put { endpoint: endpoint.clone(), place: place.clone() }),
            set_up: connection.speak(SetUp { endpoint }),
            place: place.clone(),
            ready: BTreeSet::new(),
            stream: String::new(),
        }
    }

    /// Makes the stream, and before it the group if that is missing.
    async fn make_stream(&mut self, deadline: Instant) -> Result<(), Answer> {
        let names = json!({"logGroupName": &*self.place.group, "logStreamName": &self.stream});
        match self.call("CreateLogStream", names.clone(), deadline).await {
            Ok(()) => (),
            Err(Answer::Disabled(_)) => {
                // The group is missing, which `SetUp` says in this way.
                let group = json!({"logGroupName": &*self.place.group});
                self.call("CreateLogGroup", group, deadline).await?;
                let days = self.place.retention_days;
                let retention = json!({"logGroupName": &*self.place.group, "retentionInDays": days});
                self.call("PutRetentionPolicy", retention, deadline).await?;
                self.call("CreateLogStream", names, deadline).await?;
            }
            Err(answer) => return Err(answer),
        }
        if self.ready.len() >= MAX_READY {
            self.ready.clear();
        }
        self.ready.insert(self.stream.clone());
        Ok(())
    }

    async fn call(&mut self, operation: &'static str, body: Value, deadline: Instant) -> Result<(), Answer> {
        let batch = [self.set_up.scrub(Call { operation, body })];
        let prepared = self.set_up.prepare(&batch);
        prepared.map_err(|why| Answer::retry(DropReason::Internal, why))?;
        let answer = self.set_up.export(&batch, deadline).await;
        let answer = self.set_up.conclude(&batch, answer);
        if matches!(answer, Answer::Accepted) {
            return Ok(());
        }
        // Whether it was done is seen when it is tried again.
        Err(if let Answer::InDoubt(why) = answer { Answer::retry(DropReason::Network, why) } else { answer })
    }
}

impl Exporter for Shipper {
    type Item = Event;
    type Ready = Event;

    fn size(item: &Event) -> usize {
        Put::size(item)
    }

    fn scrub(&mut self, item: Event) -> Scrubbed<Event> {
        self.put.scrub(item)
    }

    fn admit(&mut self, ready: &Event) -> Result<(), DropReason> {
        self.put.admit(ready)
    }

    fn prepare(&mut self, batch: &[Scrubbed<Event>]) -> Result<(), Reason> {
        self.stream = self.place.stream_at(first(batch));
        self.put.prepare(batch)
    }

    async fn export(&mut self, batch: &[Scrubbed<Event>], deadline: Instant) -> Answer {
        if !self.ready.contains(&self.stream)
            && let Err(answer) = self.make_stream(deadline).await
        {
            // What is refused is the group's: no line is at fault.
            return if let Answer::Rejected { why, .. } | Answer::Disabled(why) = answer {
                Answer::Paused(why)
            } else {
                answer
            };
        }
        self.put.export(batch, deadline).await
    }

    fn answer_bytes(&self) -> usize {
        self.put.answer_bytes()
    }

    fn conclude(&mut self, batch: &[Scrubbed<Event>], answer: Answer) -> Answer {
        let answer = self.put.conclude(batch, answer);
        if let Answer::Disabled(why) = answer {
            // The stream has vanished: it is made again with the next attempt.
            self.ready.remove(&self.stream);
            return Answer::retry(DropReason::Unavailable, why);
        }
        answer
    }
}

/// The time of the first line.
fn first(batch: &[Scrubbed<Event>]) -> u64 {
    batch.iter().map(|event| event.at).min().unwrap_or_default()
}

/// The lines' places, in the order of their times.
fn in_order(batch: &[Scrubbed<Event>]) -> Vec<usize> {
    let mut order: Vec<_> = batch.iter().map(|event| event.at).enumerate().collect();
    order.sort_by_key(|(_, at)| *at);
    order.into_iter().map(|(place, _)| place).collect()
}

fn request(endpoint: &Endpoint, operation: &str, body: String) -> Result<Request, Reason> {
    let target = HeaderValue::try_from(format!("Logs_20140328.{operation}"));
    let target = target.map_err(|_never| Reason::from("the operation is not text"))?;
    Ok(Request::post(endpoint)
        .content_type("application/x-amz-json-1.1")
        .header(HeaderName::from_static("x-amz-target"), target)
        .body(body))
}

/// `PutLogEvents`.
struct Put {
    endpoint: Endpoint,
    place: Place,
}

impl Protocol for Put {
    type Item = Event;
    type Ready = Event;

    /// What it counts for CloudWatch.
    fn size(item: &Event) -> usize {
        item.text.len().saturating_add(EVENT_OVERHEAD)
    }

    fn scrub(&mut self, item: Event) -> Scrubbed<Event> {
        // Lines are scrubbed when they are rendered.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn admit(&mut self, ready: &Event) -> Result<(), DropReason> {
        let now = u64::try_from(clock::unix_now().as_millis()).unwrap_or(u64::MAX);
        let is_old = now.saturating_sub(ready.at) > MAX_AGE_SECONDS.saturating_mul(1_000);
        let is_early = ready.at.saturating_sub(now) > MAX_AHEAD_SECONDS.saturating_mul(1_000);
        if is_old || is_early { Err(DropReason::Expired) } else { Ok(()) }
    }

    fn encode(&mut self, batch: &[Scrubbed<Event>]) -> Result<Request, Reason> {
        let order = in_order(batch);
        let at = |place: Option<&usize>| place.and_then(|place| batch.get(*place)).map_or(0, |event| event.at);
        if at(order.last()).saturating_sub(at(order.first())) >= MAX_EVENTS_SPAN_MILLIS {
            // Halves are sent apart.
            return Err("lines of more than a day".into());
        }
        let events: Vec<_> = order
            .iter()
            .filter_map(|place| batch.get(*place))
            .map(|event| json!({"timestamp": event.at, "message": &*event.text}))
            .collect();
        let stream = self.place.stream_at(first(batch));
        let body = json!({"logGroupName": &*self.place.group, "logStreamName": stream, "logEvents": events});
        request(&self.endpoint, "PutLogEvents", body.to_string())
    }

    fn judge(&mut self, response: &Response, batch: &[Scrubbed<Event>]) -> Answer {
        if response.status == StatusCode::BAD_REQUEST {
            let error = AwsError::of(response);
            let why = error.reason(response);
            return match error.code.as_str() {
                "ResourceNotFoundException" => Answer::Disabled(why),
                // What earlier versions of the service answered to a batch that they had.
                "DataAlreadyAcceptedException" => Answer::Accepted,
                _ => Answer::Bisect(why),
            };
        }
        if !response.status.is_success() {
            return Answer::of(response);
        }
        let reply: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        match reply.get("rejectedLogEventsInfo") {
            Some(rejected) if rejected.is_object() => Answer::Items(rejected_of(rejected, batch)),
            _ => Answer::Accepted,
        }
    }
}

/// The verdict for each line, in the batch's order. CloudWatch counts in the order of the request.
fn rejected_of(rejected: &Value, batch: &[Scrubbed<Event>]) -> Vec<Verdict> {
    let index = |name: &str| {
        let index = rejected.get(name).and_then(Value::as_u64)?;
        usize::try_from(index).ok()
    };
    let too_new = index("tooNewLogEventStartIndex").unwrap_or(usize::MAX);
    let too_old = index("tooOldLogEventEndIndex").unwrap_or(0);
    let expired = index("expiredLogEventEndIndex").unwrap_or(0);
    let mut verdicts = vec![Verdict::Stored; batch.len()];
    for (number, place) in in_order(batch).into_iter().enumerate() {
        let why = if number >= too_new {
            "more than two hours ahead of CloudWatch's clock"
        } else if number < too_old {
            "more than two weeks old"
        } else if number < expired {
            "older than the group keeps"
        } else {
            continue;
        };
        if let Some(verdict) = verdicts.get_mut(place) {
            *verdict = Verdict::Poison(why.into());
        }
    }
    verdicts
}

/// What makes groups and streams.
struct SetUp {
    endpoint: Endpoint,
}

struct Call {
    operation: &'static str,
    body: Value,
}

impl Protocol for SetUp {
    type Item = Call;
    type Ready = Call;

    fn size(_item: &Call) -> usize {
        0
    }

    fn scrub(&mut self, item: Call) -> Scrubbed<Call> {
        // Made of names that were configured.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<Call>]) -> Result<Request, Reason> {
        let [call] = batch else { return Err("one operation a request".into()) };
        request(&self.endpoint, call.operation, call.body.to_string())
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Call>]) -> Answer {
        if response.status != StatusCode::BAD_REQUEST {
            return Answer::of(response);
        }
        let error = AwsError::of(response);
        match error.code.as_str() {
            "ResourceAlreadyExistsException" => Answer::Accepted,
            "ResourceNotFoundException" => Answer::Disabled(error.reason(response)),
            _ => Answer::rejected(error.reason(response)),
        }
    }
}

#[cfg(test)]
mod tests {
    use steeple_export::test_util::{Partial, Reply, Subject, check_all};

    use super::*;

    struct Lines;

    impl Subject for Lines {
        type Protocol = Put;

        fn protocol(&self, endpoint: Endpoint) -> Put {
            let place = Place { group: Arc::from("/aws/ecs/shop"), stream: Arc::from("one"), retention_days: 30 };
            Put { endpoint, place }
        }

        fn item(&self, number: usize) -> Event {
            let at = u64::try_from(clock::unix_now().as_millis()).unwrap();
            Event { at, text: format!("line {number:06}").into() }
        }

        fn accepts(&self) -> Reply {
            Reply::ok("{}")
        }

        fn partial(&self) -> Option<Partial> {
            let reply =
                Reply::ok(r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1,"expiredLogEventEndIndex":2}}"#);
            Some(Partial { reply, stored: 2, poisoned: 2 })
        }
    }

    #[test]
    fn lines_pass_every_check_of_a_pipeline() {
        check_all(Lines);
    }

    #[test]
    fn names_and_retentions_follow_cloudwatchs_rules() {
        let keys = crate::Credentials::new("id", "secret");
        let aws = Aws::new("eu-central-1").endpoint("http://127.0.0.1:9").credentials(keys);
        let built = |change: fn(CloudWatchLogsBuilder) -> CloudWatchLogsBuilder| {
            change(CloudWatchLogs::builder().service("my shop")).build(&aws).map(|lines| lines.group().to_owned())
        };
        assert_eq!(built(|logs| logs).unwrap(), "/aws/ecs/my_shop");
        assert_eq!(built(|logs| logs.environment("eu:1")).unwrap(), "/aws/ecs/my_shop-eu_1");
        for (setting, bad) in [
            ("group", built(|logs| logs.group("aws/own"))),
            ("group", built(|logs| logs.group("a b"))),
            ("stream", built(|logs| logs.stream("a:b"))),
            ("retention_days", built(|logs| logs.retention_days(8))),
        ] {
            assert_eq!(bad.unwrap_err().setting_name(), setting);
        }
        assert!(
            RETENTION_DAYS
                .into_iter()
                .all(|days| { CloudWatchLogs::builder().retention_days(days).build(&aws).is_ok() })
        );
    }
}
