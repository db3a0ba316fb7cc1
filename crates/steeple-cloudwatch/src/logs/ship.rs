//! Creates missing groups and streams, and puts lines into them.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use steeple_core::{clock, date::date};
use steeple_export::{Answer, DropReason, Endpoint, Exporter, InDoubt, Protocol, Reason, Request, Response, Verdict};
use steeple_scrub::{Scrubbed, Scrubber};

use super::Event;
use crate::{
    aws::{AwsError, Connection, Signed},
    limits::{EVENT_OVERHEAD, MAX_AGE_SECONDS, MAX_AHEAD_SECONDS, MAX_EVENTS_SPAN_MILLIS},
};

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) group: Arc<str>,
    pub(super) retention_days: u16,
}

/// The stream of a batch: that of the process which wrote the lines, and of the first line's day.
fn stream_of(batch: &[Scrubbed<Event>]) -> String {
    let first = batch.iter().min_by_key(|event| event.at);
    let (stream, at) = first.map_or(("", 0), |event| (&*event.stream, event.at));
    let (year, month, day) = date(at / 1_000);
    format!("{stream}/{year:04}-{month:02}-{day:02}")
}

/// Makes missing streams, and puts lines into them.
pub(super) struct Shipper {
    put: Signed<Put>,
    set_up: Signed<SetUp>,
    place: Place,
    #[cfg_attr(not(feature = "spool"), expect(dead_code, reason = "rows of a store are noted before they are sent"))]
    in_doubt: InDoubt,
    /// Streams that are there.
    ready: BTreeSet<String>,
    /// The stream of the batch that was prepared last.
    stream: String,
}

/// Most streams that are remembered: a month of days.
const MAX_READY: usize = 31;

impl Shipper {
    pub(super) fn new(connection: &Connection, place: &Place, in_doubt: InDoubt) -> Self {
        let endpoint = connection.endpoint.clone();
        Self {
            put: connection.speak(Put { endpoint: endpoint.clone(), place: place.clone() }),
            set_up: connection.speak(SetUp { endpoint }),
            place: place.clone(),
            in_doubt,
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
                // The group is missing, which `SetUp` reports like this.
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
        self.stream = stream_of(batch);
        self.put.prepare(batch)
    }

    async fn export(&mut self, batch: &[Scrubbed<Event>], deadline: Instant) -> Answer {
        if !self.ready.contains(&self.stream)
            && let Err(answer) = self.make_stream(deadline).await
        {
            // The receiver rejects the group: no line is at fault.
            return if let Answer::Rejected { why, .. } | Answer::Disabled(why) = answer {
                Answer::Paused(why)
            } else {
                answer
            };
        }
        #[cfg(feature = "spool")]
        if self.in_doubt == InDoubt::Drop {
            // If the process ends before the answer is settled, they are not sent again.
            let holds = batch.iter().filter_map(|event| event.hold.as_ref());
            if let Err(error) = steeple_export::store::spool::Hold::attempt(holds).await {
                return Answer::retry(DropReason::Unavailable, Reason::of_error(&error));
            }
        }
        self.put.export(batch, deadline).await
    }

    fn stored(&mut self, ready: &Event) {
        self.put.stored(ready);
    }

    fn dropped(&mut self, ready: &Event, reason: DropReason, why: &Reason) {
        self.put.dropped(ready, reason, why);
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
        let of_one = |pair: &[Scrubbed<Event>]| matches!(pair, [first, second] if first.stream == second.stream);
        if !batch.windows(2).all(of_one) {
            return Err("lines of two processes".into());
        }
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
        let stream = stream_of(batch);
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

    fn stored(&mut self, ready: &Event) {
        ready.settle(None);
    }

    fn dropped(&mut self, ready: &Event, reason: DropReason, why: &Reason) {
        ready.settle(Some((reason, why)));
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
    use steeple_export::test_util::{
        ExporterSubject, Partial, Received, Reply, ScriptedReceiver, Subject, Turn, check_all, check_exporter,
    };

    use super::*;
    use crate::{
        aws::{Aws, LOGS},
        credentials::Credentials,
    };

    struct Lines;

    impl Subject for Lines {
        type Protocol = Put;

        fn protocol(&self, endpoint: Endpoint) -> Put {
            Put { endpoint, place: place() }
        }

        fn item(&self, number: usize) -> Event {
            event(number)
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

    fn place() -> Place {
        Place { group: Arc::from("/aws/ecs/shop"), retention_days: 30 }
    }

    fn event(number: usize) -> Event {
        let at = u64::try_from(clock::unix_now().as_millis()).unwrap();
        Event::new(at, format!("line {number:06}").into(), Arc::from("one"))
    }

    #[test]
    fn lines_pass_every_check_of_a_pipeline() {
        check_all(Lines);
    }

    struct Shipped;

    impl ExporterSubject for Shipped {
        type Exporter = Shipper;
        type Receiver = ScriptedReceiver;
        // A batch that is rejected is sent in halves, to find the line.
        const BATCH: usize = 1;
        // Credentials that are rejected are made again first.
        const TURNS: &'static [Turn] =
            &[Turn::Accepts, Turn::Holds, Turn::Hangs, Turn::Breaks, Turn::Defers, Turn::Refuses];

        fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> ScriptedReceiver {
            let puts = |received: &Received| {
                received.header("x-amz-target").is_some_and(|target| target.ends_with(".PutLogEvents"))
            };
            ScriptedReceiver::start(turn, puts, &Reply::ok("{}"))
        }

        fn exporter(&self, receiver: &ScriptedReceiver) -> Shipper {
            let aws = Aws::new("eu-central-1").credentials(Credentials::new("id", "secret"));
            let connection = aws.endpoint(receiver.endpoint().uri().to_string()).connect(&LOGS).unwrap();
            Shipper::new(&connection, &place(), InDoubt::Resend)
        }

        fn item(&self, number: usize) -> Event {
            event(number)
        }
    }

    #[test]
    fn lines_and_their_streams_pass_every_check_of_a_pipeline() {
        check_exporter(Shipped);
    }
}
