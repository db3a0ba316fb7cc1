//! Limits, poison, storms, clocks and outages, against the strict receiver.

use std::{
    collections::HashMap,
    future::ready,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::StatusCode;
use steeple_cloudwatch::{CloudWatch, CloudWatchLogs, Credentials, CredentialsFuture, ProvideCredentials, Unit};
use steeple_core::clock;
use steeple_export::{DropReason, FlushReport, Sink, test_util::Reply};
use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;

use crate::strict::{Stored, Strict, answer, body, fast, refused};

const HANG: Duration = Duration::from_secs(120);

fn flush(sink: &dyn Sink) -> FlushReport {
    sink.flush(clock::now() + HANG)
}

fn cloudwatch(strict: &Strict) -> CloudWatch {
    let builder = CloudWatch::builder("shop").service("api").environment("test");
    builder.retry(fast()).build(&Metrics::new().unwrap(), &strict.aws()).unwrap()
}

/// How many values of a metric arrived.
fn count(stored: &Stored, name: &str) -> f64 {
    let data = stored.data.iter().filter(|datum| datum.name == name);
    data.flat_map(|datum| &datum.values).map(|(_, count)| count).sum()
}

fn number(sink: &dyn Sink, reason: DropReason) -> u64 {
    sink.stats().dropped(reason)
}

#[test]
fn whatever_is_put_in_no_request_breaks_a_rule_and_every_value_arrives() {
    let strict = Strict::start(|_, _| None);
    let cloudwatch = cloudwatch(&strict);
    let long = "v".repeat(2_000);
    let names: Vec<String> = (0..28).map(|number| format!("dimension-{number}-{}", "n".repeat(200))).collect();
    let dimensions: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    for metric in 0..300_u32 {
        cloudwatch.put_metric(format!("wide{metric}"), f64::from(metric) * 1e-9, Unit::Seconds, &dimensions[..28]);
    }
    for value in 0..5_000_u32 {
        cloudwatch.put_metric("many", f64::from(value % 600) + 0.123_456_789, Unit::Milliseconds, &[]);
    }
    for (value, unit) in
        [(2_f64.powi(360), Unit::None), (-0.0, Unit::Count), (5e-324, Unit::Bits), (1e-300, Unit::Bytes)]
    {
        cloudwatch.put_metric("odd", value, unit, &[("Grüße", "")]);
        cloudwatch.put_metric("odd", value, unit, &[("Käse", "ü\n")]);
        cloudwatch.put_metric("odd", value, unit, &[("Blank", " "), ("Service", "other")]);
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        cloudwatch.put_metric("refused", value, Unit::Count, &[]);
    }
    let report = flush(&*cloudwatch.sink());
    assert!(report.is_complete(), "{report:?} {:?}", cloudwatch.sink().stats());
    strict.check();
    let stored = strict.stored.lock().unwrap();
    assert!(stored.requests > 8, "{} requests of 1 MB at most", stored.requests);
    let wide = stored.data.iter().filter(|datum| datum.name.starts_with("wide")).count();
    assert_eq!((wide, count(&stored, "many").round()), (300, 5_000.0));
    let odd = stored.data.iter().filter(|datum| datum.name == "odd");
    let dimensions = odd.map(|datum| &datum.dimensions).filter(|all| all.contains(&("Blank".into(), "-".into())));
    assert!(dimensions.into_iter().all(|all| all.contains(&("Service".into(), "other".into())) && all.len() == 3));
    assert!(!stored.data.iter().any(|datum| datum.name == "refused"));
    // A name that is not ASCII is not one of CloudWatch's.
    assert_eq!(cloudwatch.dropped(), [("not_finite", 3), ("out_of_range", 1), ("invalid_name", 8), ("too_many", 0)]);
}

#[test]
fn one_datum_that_is_refused_is_found_and_the_others_arrive_once() {
    let strict = Strict::start(|_, _| None);
    let cloudwatch = cloudwatch(&strict);
    for metric in 0..200 {
        cloudwatch.put_metric(format!("good{metric}"), 1.0, Unit::Count, &[]);
    }
    cloudwatch.put_metric("Poison", 1.0, Unit::Count, &[]);
    let report = flush(&*cloudwatch.sink());
    assert_eq!((report.dropped, report.left), (1, 0), "{report:?}");
    assert_eq!(number(&*cloudwatch.sink(), DropReason::Rejected), 1);
    let stored = strict.stored.lock().unwrap();
    let mut good: HashMap<&str, usize> = HashMap::new();
    for datum in stored.data.iter().filter(|datum| datum.name.starts_with("good")) {
        *good.entry(&datum.name).or_default() += 1;
    }
    assert!(good.len() == 200 && good.values().all(|times| *times == 1), "{good:?}");
}

#[test]
fn throttling_and_failures_delay_metrics_and_a_lost_answer_never_counts_twice() {
    let strict = Strict::start(|_, number| match number % 9 {
        1 | 2 => Some(refused(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded")),
        4 => Some(refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceFault", "")),
        5 => Some(Reply::status(StatusCode::SERVICE_UNAVAILABLE).with("retry-after", "0")),
        7 => Some(Reply::Reset),
        _ => None,
    });
    let cloudwatch = cloudwatch(&strict);
    for round in 0..40 {
        cloudwatch.put_metric("orders", f64::from(round), Unit::Count, &[]);
        flush(&*cloudwatch.sink());
    }
    strict.check();
    let stats = cloudwatch.sink().stats();
    let arrived = count(&strict.stored.lock().unwrap(), "orders");
    // The answer of a broken connection is unknown: such data are dropped, and counted.
    assert!(arrived > 25.0 && arrived < 40.0, "{arrived}");
    assert_eq!(stats.dropped_total(), stats.dropped(DropReason::InDoubt), "{stats:?}");
    assert_eq!(stats.accepted, stats.exported + stats.dropped_total());
    let sent: usize = strict.stored.lock().unwrap().data.len();
    assert_eq!(stats.exported, sent as u64, "stored once each");
}

/// A provider whose every answer is another key.
struct Rotating(AtomicU64);

impl ProvideCredentials for Rotating {
    fn provide(&self) -> CredentialsFuture<'_> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let credentials =
            Credentials::new(format!("AKIA{number}"), "secret").with_session_token(format!("token{number}"));
        Box::pin(ready(Ok(credentials.expires_at(SystemTime::now() + Duration::from_secs(3_600)))))
    }
}

#[test]
fn credentials_that_expire_while_running_are_asked_for_again() {
    let strict = Strict::start(|received, _| {
        let is_old = received.header("authorization").unwrap().contains("Credential=AKIA0/");
        is_old.then(|| {
            refused(StatusCode::FORBIDDEN, "ExpiredToken", "The security token included in the request is expired")
        })
    });
    let aws = strict.aws().credentials(Rotating(AtomicU64::new(0)));
    let cloudwatch = CloudWatch::builder("shop").retry(fast()).build(&Metrics::new().unwrap(), &aws).unwrap();
    cloudwatch.put_metric("orders", 1.0, Unit::Count, &[]);
    let report = flush(&*cloudwatch.sink());
    assert!(report.is_complete(), "{report:?} {:?}", cloudwatch.sink().stats());
    let received = strict.receiver.received();
    assert_eq!(received.last().unwrap().header("x-amz-security-token"), Some("token1"));
}

#[test]
fn a_clock_that_is_off_by_days_is_signed_by_awss() {
    const AHEAD: Duration = Duration::from_secs(3 * 24 * 3_600);
    let strict = Strict::start(|received, _| {
        let theirs = SystemTime::now() + AHEAD;
        let date = httpdate::fmt_http_date(theirs);
        // `20261129T235500Z`, which is within five minutes of this clock.
        let signed = received.header("x-amz-date").unwrap();
        let near = (0..600).any(|second| {
            let at = theirs.duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(300)
                - Duration::from_secs(second);
            steeple_core::date::rfc3339(at).replace(['-', ':'], "") == signed
        });
        let skewed = refused(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", "The difference is too large");
        (!near).then(|| skewed.with("date", date))
    });
    let cloudwatch = cloudwatch(&strict);
    for _ in 0..2 {
        cloudwatch.put_metric("orders", 1.0, Unit::Count, &[]);
        let report = flush(&*cloudwatch.sink());
        assert!(report.is_complete(), "{report:?} {:?}", cloudwatch.sink().stats());
    }
    assert_eq!(strict.receiver.received().len(), 3, "one was refused");
}

fn logs(strict: &Strict) -> CloudWatchLogs {
    CloudWatchLogs::builder().service("api").stream("one").http(|http| http.retry(fast())).build(&strict.aws()).unwrap()
}

#[test]
fn a_backlog_of_thirty_hours_arrives_in_order_none_lost_and_none_twice() {
    let outage = AtomicU64::new(25);
    let strict = Strict::start(move |received, number| {
        let is_put = received.header("x-amz-target") == Some("Logs_20140328.PutLogEvents");
        // An outage, then throttling and failures while the backlog is sent.
        if is_put && outage.load(Ordering::Relaxed) > 0 {
            outage.fetch_sub(1, Ordering::Relaxed);
            return Some(Reply::status(StatusCode::SERVICE_UNAVAILABLE));
        }
        match number % 5 {
            1 => Some(refused(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded")),
            3 => Some(refused(StatusCode::INTERNAL_SERVER_ERROR, "ServiceUnavailableException", "")),
            _ => None,
        }
    });
    let lines = CloudWatchLogs::builder().service("api").stream("one");
    let lines = lines.http(|http| http.retry(fast()).max_queue(1_000_000, 1 << 30));
    let lines = lines.build(&strict.aws()).unwrap();
    let scrubber = Scrubber::default();
    let first = clock::unix_now() - Duration::from_secs(30 * 3_600);
    let mut want = Vec::new();
    for number in 0..60_000_u32 {
        let at = first + Duration::from_millis(1_800) * number;
        let text = format!("line {number} {}", "grüße ".repeat(number as usize % 40));
        lines.push(scrubber.text(&text).as_deref(), at);
        want.push((u64::try_from(at.as_millis()).unwrap(), text));
    }
    let sink = lines.sink();
    let report = flush(&*sink);
    assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
    strict.check();
    let stored = strict.stored.lock().unwrap();
    let got: Vec<_> = stored.lines.iter().map(|line| (line.at, line.text.clone())).collect();
    assert!(got == want, "{} of {} lines, in their order", got.len(), want.len());
    let days: std::collections::BTreeSet<_> = stored.lines.iter().map(|line| &line.stream).collect();
    assert!((2..=3).contains(&days.len()), "{days:?}");
    assert_eq!((sink.stats().exported, sink.stats().dropped_total()), (60_000, 0));
}

#[test]
fn lines_that_are_too_old_or_too_new_are_counted_and_the_others_arrive() {
    let strict = Strict::start(|_, _| None);
    let lines = logs(&strict);
    let now = clock::unix_now();
    let scrubber = Scrubber::default();
    let push = |text: &str, at| lines.push(scrubber.text(text).as_deref(), at);
    push("too old", now - Duration::from_secs(15 * 24 * 3_600));
    push("good", now);
    push("out of order", now - Duration::from_secs(60));
    push("", now);
    push("too new", now + Duration::from_secs(3 * 3_600));
    let sink = lines.sink();
    let report = flush(&*sink);
    assert_eq!((report.exported, report.dropped, report.left), (2, 2, 0), "{:?}", sink.stats());
    assert_eq!(number(&*sink, DropReason::Expired), 2);
    strict.check();
    let texts: Vec<_> = strict.stored.lock().unwrap().lines.iter().map(|line| line.text.clone()).collect();
    assert_eq!(texts, ["out of order", "good"]);
}

#[test]
fn lines_that_cloudwatch_rejects_one_by_one_are_counted_in_their_place() {
    // The receiver's clock is two hours behind: new data here are too new there.
    let strict = Strict::start(|received, _| {
        let is_put = received.header("x-amz-target") == Some("Logs_20140328.PutLogEvents");
        is_put.then(|| {
            Reply::ok(r#"{"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":3,"expiredLogEventEndIndex":1}}"#)
        })
    });
    let lines = logs(&strict);
    let (now, scrubber) = (clock::unix_now(), Scrubber::default());
    for second in [4, 0, 3, 1, 2] {
        lines.push(scrubber.text("line").as_deref(), now + Duration::from_secs(second));
    }
    let sink = lines.sink();
    let report = flush(&*sink);
    assert_eq!((report.exported, report.dropped, report.left), (2, 3, 0), "{:?}", sink.stats());
    assert_eq!(number(&*sink, DropReason::Rejected), 3);
}

#[test]
fn lines_of_any_length_and_number_break_no_rule() {
    let strict = Strict::start(|_, _| None);
    let lines = logs(&strict);
    let (now, scrubber) = (clock::unix_now(), Scrubber::default());
    for (number, length) in [1, 400_000, 700_000, 1_048_550, 1_048_551, 3_000_000, 10].into_iter().enumerate() {
        let text = "é".repeat(length / 2) + &number.to_string();
        lines.push(scrubber.text(&text).as_deref(), now + Duration::from_millis(number as u64));
    }
    for number in 0..25_000 {
        lines.push(scrubber.text("x").as_deref(), now + Duration::from_millis(10 + number));
    }
    let sink = lines.sink();
    let report = flush(&*sink);
    assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
    strict.check();
    assert_eq!(strict.stored.lock().unwrap().lines.len(), 25_007);
}

#[test]
fn a_group_is_made_with_its_retention_before_the_first_line_and_a_lost_stream_again() {
    let calls = Mutex::new((Vec::<String>::new(), false));
    let stored = Mutex::new(Stored::default());
    let strict = Strict::start(move |received, _| {
        let operation = received.header("x-amz-target").unwrap().rsplit('.').next().unwrap().to_owned();
        let mut calls = calls.lock().unwrap();
        calls.0.push(operation.clone());
        let (made, has_group) = (calls.0.len(), calls.1);
        let missing = || Some(refused(StatusCode::BAD_REQUEST, "ResourceNotFoundException", "it does not exist"));
        match operation.as_str() {
            "CreateLogStream" if !has_group => missing(),
            "CreateLogGroup" => {
                calls.1 = true;
                Some(refused(StatusCode::BAD_REQUEST, "ResourceAlreadyExistsException", "somebody was faster"))
            }
            "PutRetentionPolicy" => {
                assert!(body(received).contains(r#""retentionInDays":30"#));
                Some(Reply::ok(""))
            }
            // The first time the stream has vanished.
            "PutLogEvents" if made < 6 => missing(),
            "PutLogEvents" => Some(answer(&mut stored.lock().unwrap(), received)),
            _ => Some(Reply::ok("")),
        }
    });
    let lines = logs(&strict);
    lines.push(Scrubber::default().text("line").as_deref(), clock::unix_now());
    assert!(flush(&*lines.sink()).is_complete());
    let received = strict.receiver.received();
    let operations: Vec<_> =
        received.iter().map(|received| received.header("x-amz-target").unwrap().rsplit('.').next().unwrap()).collect();
    assert_eq!(
        operations,
        [
            "CreateLogStream",
            "CreateLogGroup",
            "PutRetentionPolicy",
            "CreateLogStream",
            "PutLogEvents",
            "CreateLogStream",
            "PutLogEvents"
        ]
    );
}
