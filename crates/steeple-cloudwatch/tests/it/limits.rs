//! Each limit of CloudWatch: requests keep it, and a receiver that enforces it rejects others.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use steeple_cloudwatch::{Alarm, CloudWatch, Unit, limits, put_alarms};
use steeple_core::{clock, date::rfc3339};
use steeple_metrics::{
    Metrics,
    indicator::{Indicator, Selector},
};

use crate::strict::{Strict, aws, fast};

const FIVE: Duration = Duration::from_secs(300);

#[test]
fn our_limits_are_those_of_aws() {
    assert_eq!(limits::MAX_DATA, aws::DATA);
    assert_eq!(limits::MAX_REQUEST_BYTES, aws::REQUEST_BYTES);
    assert_eq!(limits::MAX_VALUES, aws::VALUES);
    assert_eq!(limits::MAX_DIMENSIONS, aws::DIMENSIONS);
    assert_eq!((limits::MAX_NAME, limits::MAX_DIMENSION_VALUE), (aws::NAME, aws::DIMENSION_VALUE));
    assert!((limits::MAX_NUMBER / 2_f64.powi(aws::LARGEST_POWER) - 1.0).abs() < 1e-15);
    assert!(limits::MAX_NUMBER <= 2_f64.powi(aws::LARGEST_POWER));
    assert_eq!((limits::MAX_AGE_SECONDS, limits::MAX_AHEAD_SECONDS), (aws::OLD_SECONDS, aws::AHEAD_SECONDS));
    assert_eq!(limits::MAX_EVENTS, aws::EVENTS);
    assert_eq!((limits::MAX_EVENTS_BYTES, limits::EVENT_OVERHEAD), (aws::EVENTS_BYTES, aws::EVENT_OVERHEAD));
    assert_eq!(limits::MAX_EVENT_BYTES + limits::EVENT_OVERHEAD, aws::EVENTS_BYTES);
    assert_eq!(limits::MAX_EVENTS_SPAN_MILLIS, aws::SPAN_MILLIS);
    assert_eq!(limits::RETENTION_DAYS.map(u64::from), aws::RETENTION);
}

/// What the receiver answers to it.
fn post(strict: &Strict, target: Option<&str>, body: &str) -> u16 {
    let mut stream = TcpStream::connect(strict.receiver.address()).unwrap();
    let target = target.map(|target| format!("x-amz-target: Logs_20140328.{target}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(stream, "POST / HTTP/1.1\r\nhost: a\r\n{target}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some(_) => (),
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    status.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Accepted as it is; refused with each of the changes.
#[track_caller]
fn refused_alone(target: Option<&str>, good: &str, bad: &[(&str, String)]) {
    let strict = Strict::start(|_, _| None);
    assert_eq!(post(&strict, target, good), 200, "{:?}", strict.stored.lock().unwrap().violations);
    for (what, body) in bad {
        assert_eq!(post(&strict, target, body), 400, "{what}");
    }
}

/// `PutMetricData` with these data: fields besides the name, and the time.
fn data(count: usize, fields: impl Fn(usize) -> String, at: Duration) -> String {
    let mut body = vec!["Action=PutMetricData&Version=2010-08-01&Namespace=shop".to_owned()];
    for number in 1..=count {
        let known = format!("MetricName=m{number}&Timestamp={}&Unit=Count&{}", rfc3339(at), fields(number));
        let known = known.split('&').filter(|field| !field.is_empty());
        body.extend(known.map(|field| format!("MetricData.member.{number}.{field}")));
    }
    body.join("&")
}

fn dimensions(count: usize, name: usize, value: usize) -> String {
    let one = |number: usize| {
        let (name, value) = (format!("{number:0name$}"), "v".repeat(value));
        format!("&Dimensions.member.{number}.Name={name}&Dimensions.member.{number}.Value={value}")
    };
    "Value=1".to_owned() + &(1..=count).map(one).collect::<String>()
}

fn values(count: usize) -> String {
    let one = |number: usize| format!("Values.member.{number}={number}&Counts.member.{number}=1");
    (1..=count).map(one).collect::<Vec<_>>().join("&")
}

#[test]
fn the_receiver_takes_data_up_to_each_limit_and_nothing_beyond() {
    let now = clock::unix_now();
    let minute = Duration::from_secs(60);
    let one = |fields: &str| data(1, |_| fields.to_owned(), now);
    let (old, ahead) = (Duration::from_secs(aws::OLD_SECONDS), Duration::from_secs(aws::AHEAD_SECONDS));
    // A body of up to this many bytes, filled up by names of dimensions.
    let wide = |count: usize| data(count, |_| dimensions(30, 3, 1_024), now);
    let fits = (1..100).take_while(|count| wide(*count).len() <= aws::REQUEST_BYTES).last().unwrap();
    for good in [
        data(aws::DATA, |_| "Value=1".to_owned(), now),
        one(&values(aws::VALUES)),
        one(&dimensions(aws::DIMENSIONS, aws::NAME, aws::DIMENSION_VALUE)),
        data(1, |_| "Value=1".to_owned(), now.checked_sub(old).unwrap() + minute),
        data(1, |_| "Value=1".to_owned(), now + ahead - minute),
        one(&format!("Value={}", 2_f64.powi(360))),
        wide(fits),
    ] {
        refused_alone(None, &good, &[]);
    }
    refused_alone(
        None,
        &one("Value=1"),
        &[
            ("data", data(aws::DATA + 1, |_| "Value=1".to_owned(), now)),
            ("no data", data(0, |_| String::new(), now)),
            ("bytes", wide(fits + 1)),
            ("values", one(&values(aws::VALUES + 1))),
            ("a value twice", one("Values.member.1=5&Counts.member.1=1&Values.member.2=5&Counts.member.2=1")),
            ("no value", one("")),
            ("dimensions", one(&dimensions(aws::DIMENSIONS + 1, 3, 1))),
            ("a dimension's name", one(&dimensions(1, aws::NAME + 1, 1))),
            ("a dimension's value", one(&dimensions(1, 3, aws::DIMENSION_VALUE + 1))),
            ("an empty dimension", one(&dimensions(1, 3, 0))),
            ("a name", one("Value=1").replace("MetricName=m1", &format!("MetricName={}", "n".repeat(aws::NAME + 1)))),
            ("two weeks", data(1, |_| "Value=1".to_owned(), now.checked_sub(old).unwrap() - minute)),
            ("two hours", data(1, |_| "Value=1".to_owned(), now + ahead + minute)),
            ("not a number", one("Value=NaN")),
            ("infinite", one("Value=inf")),
            ("too large", one("Value=1e109")),
            ("a unit", one("Value=1").replace("Unit=Count", "Unit=Requests")),
            ("AWS's own namespace", one("Value=1").replace("=shop", "=AWS/EC2")),
        ],
    );
}

#[test]
fn the_receiver_takes_lines_up_to_each_limit_and_nothing_beyond() {
    let now = u64::try_from(clock::unix_now().as_millis()).unwrap();
    let body =
        |events: Value| json!({"logGroupName": "/aws/ecs/a", "logStreamName": "s", "logEvents": events}).to_string();
    let line = |at: u64, text: &str| json!({"timestamp": at, "message": text});
    let lines = |count: usize, text: &str| body((0..count).map(|_| line(now, text)).collect());
    let longest = "x".repeat(aws::EVENTS_BYTES - aws::EVENT_OVERHEAD);
    for good in [
        lines(aws::EVENTS, "x"),
        lines(1, &longest),
        lines(1_024, &"x".repeat(1_024 - aws::EVENT_OVERHEAD)),
        body(json!([line(now - aws::SPAN_MILLIS, "first"), line(now, "last")])),
    ] {
        refused_alone(Some("PutLogEvents"), &good, &[]);
    }
    refused_alone(
        Some("PutLogEvents"),
        &lines(1, "x"),
        &[
            ("events", lines(aws::EVENTS + 1, "x")),
            ("no events", lines(0, "")),
            ("bytes of one", lines(1, &(longest.clone() + "x"))),
            ("26 bytes for each", lines(1_024, &"x".repeat(1_025 - aws::EVENT_OVERHEAD))),
            ("24 hours", body(json!([line(now - aws::SPAN_MILLIS - 1, "first"), line(now, "last")]))),
            ("the order", body(json!([line(now, "later"), line(now - 1, "earlier")]))),
            ("an empty line", lines(1, "")),
            ("a stream", lines(1, "x").replace(r#""s""#, r#""s:t""#)),
            ("a group", lines(1, "x").replace("/aws/ecs/a", "a b")),
        ],
    );
    let retention = |days: u64| json!({"logGroupName": "a", "retentionInDays": days}).to_string();
    refused_alone(Some("PutRetentionPolicy"), &retention(30), &[("days", retention(31)), ("for ever", retention(0))]);
}

#[test]
fn a_minute_of_many_metrics_fills_requests_to_the_limit() {
    let strict = Strict::start(|_, _| None);
    let builder = CloudWatch::builder("shop").service("api").retry(fast());
    let cloudwatch = builder.build(&Metrics::new().unwrap(), &strict.aws()).unwrap();
    for metric in 0..999 {
        cloudwatch.put_metric(format!("m{metric}"), 1.0, Unit::Count, &[]);
    }
    assert!(cloudwatch.sink().flush(clock::now() + Duration::from_secs(120)).is_complete());
    strict.check();
    let stored = strict.stored.lock().unwrap();
    assert_eq!(stored.batches.iter().max(), Some(&aws::DATA), "{:?}", stored.batches);
}

#[test]
fn alarms_keep_the_limits_of_an_alarm() {
    let strict = Strict::start(|_, _| None);
    let failed = Selector::new("payments_total").label("result", "failed");
    let named = |name: &str, indicator: Indicator| Alarm::new(name, indicator, FIVE).above(0.5);
    let mut alarms = vec![
        named("a", Indicator::error_ratio()).min_samples(20).min_bad(3),
        named("b", Indicator::error_ratio().of("POST", &format!("/{}", "r".repeat(2_000)))).min_samples(20),
        named("c", Indicator::quantile(0.999).of("POST", "/checkout")),
        named("d", Indicator::slow_ratio(Duration::from_millis(300))).min_samples(1),
        named("e", Indicator::counter_increase(failed.clone())).description("d".repeat(5_000)),
        named("f", Indicator::counter_ratio(failed, Selector::new("payments_total"))),
        named("g", Indicator::cache_hit_ratio()),
        // A window and a hold of a day together.
        Alarm::new("h", Indicator::rate(), Duration::from_secs(61)).below(1.0).hold(Duration::from_secs(86_000)),
        Alarm::new("i", Indicator::memory(), Duration::from_secs(86_400)).above(0.9),
        named(&"n".repeat(aws::NAME - "api-test-".len()), Indicator::cpu()),
    ];
    for topic in 0..aws::ACTIONS {
        alarms[0] = alarms[0].clone().action(format!("arn:aws:sns:eu-central-1:1:{topic}"));
    }
    let builder = CloudWatch::builder("shop").service("api").environment("test");
    let defined = builder.alarms(&alarms).unwrap();
    let report = put_alarms(&defined, &strict.aws(), Duration::from_secs(120)).unwrap();
    strict.check();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(strict.stored.lock().unwrap().alarms, alarms.len());
}
