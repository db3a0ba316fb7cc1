//! moto as the receiver, AWS's own client as the reader.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use serde_json::Value;
use steeple_cloudwatch::{Alarm, CloudWatch, CloudWatchLogs, Unit, put_alarms};
use steeple_log::{Format, Log};
use steeple_metrics::{
    Metrics,
    indicator::{Indicator, Selector},
};
use tower::{ServiceBuilder, ServiceExt};
use tracing_subscriber::layer::SubscriberExt;

use crate::peer::Moto;

fn deadline() -> Instant {
    steeple_core::clock::now() + Duration::from_secs(120)
}

/// Serves requests of which every fourth fails.
async fn serve(metrics: &Metrics, requests: u32) {
    for number in 0..requests {
        let handler = move |_: Request<String>| async move {
            tokio::time::sleep(Duration::from_millis(u64::from(number % 7))).await;
            let status = if number % 4 == 0 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
            let mut response = Response::new(String::from("hello"));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        };
        let service = ServiceBuilder::new().layer(metrics.layer()).service_fn(handler);
        let response = service.oneshot(Request::get("/hello").body(String::new()).unwrap()).await.unwrap();
        let body = std::pin::pin!(response.into_body());
        http_body(body).await;
    }
}

async fn http_body<B: http_body::Body + Unpin>(mut body: B) {
    while std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await.is_some() {}
}

/// The sum of a name's series on the page that Prometheus would scrape.
fn scraped(metrics: &Metrics, name: &str) -> f64 {
    let page = String::from_utf8(metrics.render(None, None).body.to_vec()).unwrap();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix('{')?.rsplit(' ').next()?.parse::<f64>().ok();
    page.lines().filter_map(value).sum()
}

/// Statistics of metrics that have exactly these dimensions: moto's other operation adds up all that have them.
fn statistics(moto: &Moto, wanted: &[(&str, &str, &str)]) -> Vec<f64> {
    let wanted: Vec<_> =
        wanted.iter().map(|(name, of, dimensions)| format!("('{name}','{of}',{dimensions})")).collect();
    let values = moto.read(&format!(
        "[sum(cloudwatch.get_metric_data(MetricDataQueries=[{{'Id': 'm', 'MetricStat': {{'Metric': {{'Namespace': 'shop', \
         'MetricName': n, 'Dimensions': d}}, 'Period': 7200, 'Stat': s}}}}], StartTime=now-hour, EndTime=now+hour)\
         ['MetricDataResults'][0]['Values']) for (n, s, d) in [{}]]",
        wanted.join(",")
    ));
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_those_that_prometheus_sees() {
    let Some(moto) = Moto::start() else { return };
    let metrics = Metrics::new().unwrap();
    let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
    let sizes = metrics
        .size_histogram("upload_size_bytes", "Uploads.", [], &steeple_metrics::Buckets::new([1e3, 1e6]))
        .unwrap();
    let cloudwatch =
        CloudWatch::builder("shop").service("api").environment("test").build(&metrics, &moto.aws()).unwrap();
    // Two minutes: what the second sends is what came since the first.
    for round in 1..=2_u32 {
        serve(&metrics, 60 * round).await;
        payments.add(["failed"], 3);
        payments.add(["succeeded"], 40);
        for size in [500, 2_000, 3_000_000] {
            sizes.observe([], size);
        }
        cloudwatch.put_metric("Orders", 2.0, Unit::Count, &[("Kind", "web")]);
        cloudwatch.put_metric("Orders", f64::NAN, Unit::Count, &[("Kind", "web")]);
        cloudwatch.user_activity("login");
        cloudwatch.api_latency("job", Duration::from_millis(250));
        cloudwatch.error_rate("checkout", 0.25);
        cloudwatch.database_connections("main", 7);
        cloudwatch.cache_hit_rate("users", 0.9);
        let report = cloudwatch.sink().flush(deadline());
        assert!(report.is_complete(), "{report:?} {:?}", cloudwatch.sink().stats());
    }
    assert_eq!(cloudwatch.dropped()[0], ("not_finite", 2));
    let base = "[{'Name':'Service','Value':'api'},{'Name':'Environment','Value':'test'}]";
    let with = |name: &str, value: &str| format!("{base}+[{{'Name':'{name}','Value':'{value}'}}]");
    let count = scraped(&metrics, "http_request_duration_seconds_count");
    assert!((count - 180.0).abs() < 0.1, "{count}");
    let duration = scraped(&metrics, "http_request_duration_seconds_sum");
    let wanted = [
        ("Requests", "Sum", base.to_owned(), count),
        ("Errors", "Sum", base.to_owned(), 45.0),
        ("Latency", "SampleCount", base.to_owned(), count),
        ("Latency", "Sum", base.to_owned(), duration),
        ("Latency", "Sum", with("Route", "GET unmatched"), duration),
        ("Requests", "Sum", with("StatusClass", "5xx"), 45.0),
        ("Requests", "Sum", with("StatusClass", "2xx"), 135.0),
        ("payments_total", "Sum", with("result", "failed"), 6.0),
        ("payments_total", "Sum", with("result", "succeeded"), 80.0),
        ("upload_size_bytes", "Sum", base.to_owned(), 2.0 * 3_002_500.0),
        ("upload_size_bytes", "SampleCount", base.to_owned(), 6.0),
        ("Orders", "Sum", with("Kind", "web"), 4.0),
        ("UserActivity", "Sum", with("Activity", "login"), 2.0),
        ("Latency", "Average", with("Route", "job"), 0.25),
        ("ErrorRate", "Average", with("Operation", "checkout"), 25.0),
        ("DatabaseConnections", "Maximum", with("Pool", "main"), 7.0),
        ("CacheHitRate", "Average", with("Cache", "users"), 90.0),
    ];
    let asked: Vec<_> = wanted.iter().map(|(name, of, dimensions, _)| (*name, *of, &**dimensions)).collect();
    for ((name, of, dimensions, want), got) in wanted.iter().zip(statistics(&moto, &asked)) {
        assert!((got - want).abs() <= want.abs() * 1e-5, "{name} {of} {dimensions}: {got}, not {want}");
    }
    assert!(statistics(&moto, &[("MemoryUtilization", "Maximum", base)])[0] > 0.0);
    let report = cloudwatch.sink().shutdown(deadline());
    assert!(report.is_complete(), "{report:?}");
    let after_the_end = statistics(&moto, &[("Requests", "Sum", base)])[0];
    assert!((after_the_end - count).abs() < 0.1, "{after_the_end}");
}

#[test]
fn lines_are_in_their_group_and_stream_in_order_and_a_vanished_stream_is_made_again() {
    let Some(moto) = Moto::start() else { return };
    let lines = CloudWatchLogs::builder()
        .service("api")
        .environment("test")
        .stream("worker-1")
        .retention_days(14)
        .http(|http| http.retry(steeple_export::Retry::new().base(Duration::from_millis(5))))
        .build(&moto.aws())
        .unwrap();
    let sink = lines.sink();
    let guard = Log::builder().without_console().output(lines, Format::Json).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(guard.layer());
    tracing::subscriber::with_default(subscriber, || {
        let flush = || {
            assert!(guard.flush(Duration::from_secs(60)));
            let report = sink.flush(deadline());
            assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
        };
        for number in 0..1_500 {
            tracing::info!("line {number} grüße");
        }
        flush();
        let groups = moto.read("logs.describe_log_groups()['logGroups']");
        assert_eq!(
            (&groups[0]["logGroupName"], &groups[0]["retentionInDays"]),
            (&"/aws/ecs/api-test".into(), &14.into())
        );
        let read = || {
            let events = moto.read(
                "[json.loads(e['message'])['message'] for page in logs.get_paginator('filter_log_events')\
                 .paginate(logGroupName='/aws/ecs/api-test') for e in page['events']]",
            );
            let events = events.as_array().unwrap().iter().map(|event| event.as_str().unwrap().to_owned());
            events.collect::<Vec<_>>()
        };
        let want: Vec<_> = (0..1_500).map(|number| format!("line {number} grüße")).collect();
        assert_eq!(read(), want);
        let streams = moto.read(
            "[s['logStreamName'] for s in logs.describe_log_streams(logGroupName='/aws/ecs/api-test')['logStreams']]",
        );
        let stream = streams[0].as_str().unwrap();
        assert!(stream.starts_with("worker-1/20") && streams.as_array().unwrap().len() == 1, "{streams}");
        moto.read("logs.delete_log_group(logGroupName='/aws/ecs/api-test')");
        tracing::info!("after the group was deleted");
        flush();
        assert_eq!(read(), ["after the group was deleted"]);
    });
    assert_eq!((sink.stats().exported, sink.stats().dropped_total()), (1_501, 0));
}

#[test]
fn alarms_are_as_they_were_printed() {
    let Some(moto) = Moto::start() else { return };
    let five = Duration::from_secs(300);
    let failed = Selector::new("payments_total").label("result", "failed");
    let alarms = [
        Alarm::new("high_cpu_usage", Indicator::cpu(), five).above(0.8).hold(five),
        Alarm::new("high_error_rate", Indicator::error_ratio(), five).above(0.05).min_samples(20).min_bad(3),
        Alarm::new("slow", Indicator::quantile(0.95).of("POST", "/checkout"), five).above(1.5),
        Alarm::new("payment_failures", Indicator::counter_increase(failed), five)
            .above(3.0)
            .action("arn:aws:sns:eu-central-1:1:a"),
        Alarm::new("low_user_activity", Indicator::active_users(), five).below(10.0),
    ];
    let builder = CloudWatch::builder("shop").service("api").environment("test");
    let alarms = builder.alarms(&alarms).unwrap();
    let report = put_alarms(&alarms, &moto.aws(), Duration::from_secs(60)).unwrap();
    assert!(report.is_complete() && report.put == 5, "{report:?}");
    let known = moto.read("{a['AlarmName']: a for a in cloudwatch.describe_alarms()['MetricAlarms']}");
    for alarm in &alarms {
        let (printed, known) = (alarm.to_json().as_object().unwrap(), &known[alarm.name()]);
        for (field, value) in printed {
            match (value.as_f64(), field.as_str()) {
                (Some(value), _) => assert_eq!(known[field].as_f64(), Some(value), "{} {field}", alarm.name()),
                (None, "Metrics") => {
                    let expression = |of: &Value| {
                        of.as_array().unwrap().iter().find_map(|part| part["Expression"].as_str().map(str::to_owned))
                    };
                    assert_eq!(expression(&known[field]), expression(value), "{}", alarm.name());
                }
                (None, _) => assert_eq!(&known[field], value, "{} {field}", alarm.name()),
            }
        }
    }
}
