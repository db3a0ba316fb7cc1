//! Metrics and lines to CloudWatch, lines to Elasticsearch: switched on by their variables alone, the last lines included.
#![cfg(all(feature = "cloudwatch", feature = "elasticsearch"))]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails")]

use std::{io::Read, path::Path, process::Command};

use http::Request;
use steeple::{Steeple, cloudwatch::Unit};
use steeple_export::test_util::{Received, Receiver, Reply};
use tower::{ServiceBuilder, ServiceExt as _};

/// Answers as Elasticsearch and CloudWatch do to what they take.
fn receiver() -> Receiver {
    Receiver::start(|_, _| Reply::ok(r#"{"errors":false,"items":[]}"#))
}

fn body(received: &Received) -> String {
    let mut text = String::new();
    match received.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&received.body[..]).read_to_string(&mut text).unwrap(),
        _ => (&received.body[..]).read_to_string(&mut text).unwrap(),
    };
    text
}

/// Runs the service of this file in a process with these variables. Returns what it wrote to standard output.
fn run(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["serves_a_request_and_ends", "--exact", "--nocapture", "--ignored"])
        .env_clear()
        .envs(variables.iter().copied())
        .envs([("SERVICE_NAME", "shop"), ("DEPLOYMENT_ENVIRONMENT", "test")])
        .current_dir(Path::new("/"))
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout} {:?}", String::from_utf8(output.stderr));
    stdout
}

#[test]
#[ignore = "run by other tests, in a process with variables"]
fn serves_a_request_and_ends() {
    let steeple = Steeple::from_env().unwrap();
    steeple.log_summary();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handler = async |_: Request<String>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new()));
    let service = ServiceBuilder::new().layer(steeple.layer()).service_fn(handler);
    let request = Request::get("/hello").header("x-request-id", "the-request").body(String::new()).unwrap();
    drop(runtime.block_on(service.oneshot(request)).unwrap());
    if let Some(cloudwatch) = steeple.cloudwatch() {
        cloudwatch.put_metric("Orders", 2.0, Unit::Count, &[("Kind", "web")]);
    }
    tracing::info!("the last line");
    let report = steeple.close();
    println!("report: {report}");
}

#[test]
fn addresses_and_keys_alone_turn_nothing_on() {
    let receiver = receiver();
    let url = format!("http://{}", receiver.address());
    let stdout = run(&[
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("ELASTICSEARCH_URL", &url),
        ("ELASTICSEARCH_API_KEY", "key"),
    ]);
    assert!(stdout.contains("cloudwatch: off") && stdout.contains("elasticsearch: off"), "{stdout}");
    assert!(receiver.received().is_empty());
}

#[test]
fn cloudwatch_gets_metrics_and_every_line_with_the_last_one() {
    let receiver = receiver();
    let stdout = run(&[
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", &format!("http://{}", receiver.address())),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("CLOUDWATCH_NAMESPACE", "shop"),
        ("CLOUDWATCH_LOG_GROUP", "auto"),
    ]);
    let on = "cloudwatch: namespace shop, log group /aws/ecs/shop-test (CLOUDWATCH_NAMESPACE)";
    assert!(stdout.contains(on) && stdout.contains("report: everything was delivered"), "{stdout}");
    assert!(!stdout.contains("hunter2"));
    let requests = receiver.received();
    let of = |operation: &str| -> String {
        let is = |received: &&Received| {
            received.header("x-amz-target").unwrap_or("").ends_with(operation)
                || body(received).starts_with(&format!("Action={operation}&"))
        };
        requests.iter().filter(is).map(body).collect()
    };
    let metrics = of("PutMetricData");
    for part in ["Namespace=shop&", "MetricName=Requests&", "MetricName=Orders&", "Name=Service&", "Value=test&"] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    let lines = of("PutLogEvents");
    for part in [r#""logGroupName":"/aws/ecs/shop-test""#, "the-request", "the last line", "started: environment test"]
    {
        assert!(lines.contains(part), "{part} in {lines}");
    }
}

#[test]
fn metrics_are_lines_of_standard_output_where_that_is_set() {
    let stdout = run(&[("CLOUDWATCH_NAMESPACE", "shop"), ("CLOUDWATCH_EMF", "1")]);
    let documents: Vec<serde_json::Value> = stdout
        .lines()
        .filter(|line| line.contains("\"_aws\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |name: &str| documents.iter().find_map(|document| document.get(name)).cloned();
    assert_eq!((of("Orders"), of("Requests")), (Some(2.0.into()), Some(1.0.into())), "{stdout}");
}

#[test]
fn elasticsearch_gets_every_line_with_the_last_one() {
    let receiver = receiver();
    let url = format!("http://{}", receiver.address());
    let stdout = run(&[
        ("ELASTICSEARCH_LOGS_STREAM", "logs-shop-test"),
        ("ELASTICSEARCH_URL", &url),
        ("ELASTICSEARCH_API_KEY", "hunter2"),
    ]);
    let on = "elasticsearch: data stream logs-shop-test (ELASTICSEARCH_LOGS_STREAM)";
    assert!(stdout.contains(on) && stdout.contains("report: everything was delivered"), "{stdout}");
    let requests = receiver.received();
    assert!(requests.iter().all(|received| received.header("authorization") == Some("ApiKey hunter2")));
    let lines: String = requests.iter().map(body).collect();
    for part in [r#"{"create":{"_index":"logs-shop-test""#, r#""id":"the-request""#, "the last line"] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
}

/// A receiver that is down until it is told otherwise: then it answers as Elasticsearch and CloudWatch do.
#[cfg(feature = "spool")]
fn outage() -> (Receiver, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = std::sync::Arc::clone(&is_up);
    let receiver = Receiver::start(move |_, _| {
        if up.load(std::sync::atomic::Ordering::Relaxed) {
            Reply::ok(r#"{"errors":false,"items":[]}"#)
        } else {
            Reply::status(http::StatusCode::SERVICE_UNAVAILABLE)
        }
    });
    (receiver, is_up)
}

/// Runs the service twice, with the receiver down and then up. Returns what the receiver took.
#[cfg(feature = "spool")]
fn run_in_an_outage(variables: &[(&str, &str)]) -> String {
    let (receiver, is_up) = outage();
    let url = format!("http://{}", receiver.address());
    let with = |variables: &[(&'static str, &str)]| {
        let all: Vec<_> = variables.iter().map(|(name, value)| (*name, value.replace("URL", &url))).collect();
        run(&all.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>())
    };
    let variables: Vec<(&'static str, &str)> =
        variables.iter().map(|(name, value)| (&*String::leak((*name).to_owned()), *value)).collect();
    let stdout = with(&variables);
    assert!(stdout.contains("not everything was delivered") && stdout.contains("spooled in"), "{stdout}");
    let before = receiver.received().len();
    is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    let stdout = with(&variables);
    assert!(stdout.contains("everything was delivered"), "{stdout}");
    receiver.received().iter().skip(before).map(body).collect()
}

#[cfg(feature = "spool")]
#[test]
fn with_a_directory_the_next_process_sends_what_this_one_could_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let lines = run_in_an_outage(&[
        ("ELASTICSEARCH_LOGS_STREAM", "logs-shop-test"),
        ("ELASTICSEARCH_URL", "URL"),
        ("ELASTICSEARCH_LOGS_SPOOL_DIR", path),
        ("ELASTICSEARCH_LOGS_SPOOL_BYTES", "64MiB"),
    ]);
    assert_eq!(lines.matches("the last line").count(), 2, "{lines}");
    let lines = run_in_an_outage(&[
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "URL"),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("CLOUDWATCH_LOG_GROUP", "auto"),
        // The same: each output has a separate directory in it.
        ("CLOUDWATCH_LOG_SPOOL_DIR", path),
    ]);
    assert_eq!(lines.matches("the last line").count(), 2, "{lines}");
}

#[test]
fn a_directory_without_its_output_is_a_warning_and_one_that_cannot_be_used_an_error() {
    let stdout = run(&[("CLOUDWATCH_LOG_SPOOL_DIR", "/nowhere"), ("ELASTICSEARCH_LOGS_SPOOL_DIR", "/nowhere")]);
    for variable in ["CLOUDWATCH_LOG_SPOOL_DIR", "ELASTICSEARCH_LOGS_SPOOL_DIR"] {
        assert!(stdout.contains(&format!("{variable} has no effect")), "{stdout}");
    }
    let receiver = receiver();
    let url = format!("http://{}", receiver.address());
    let variables = [
        ("ELASTICSEARCH_LOGS_STREAM", "logs-shop-test"),
        ("ELASTICSEARCH_URL", &*url),
        ("ELASTICSEARCH_LOGS_SPOOL_DIR", "/dev/null/lines"),
    ];
    if cfg!(feature = "spool") {
        let error = refused(&variables);
        assert!(error.contains("ELASTICSEARCH_LOGS_SPOOL_DIR: ") && error.contains("/dev/null/lines/"), "{error}");
    } else {
        let stdout = run(&variables);
        assert!(stdout.contains("built without the feature `spool`"), "{stdout}");
    }
    let error = refused(&[("CLOUDWATCH_LOG_SPOOL_DIR", "/nowhere"), ("CLOUDWATCH_LOG_SPOOL_BYTES", "lots")]);
    assert!(error.contains("CLOUDWATCH_LOG_SPOOL_BYTES") && error.contains("256MiB"), "{error}");
}

/// What the builder says to these variables.
fn refused(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["prints_what_is_wrong", "--exact", "--nocapture", "--ignored"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn half_a_setting_is_an_error_that_names_the_other_half() {
    for (variables, other) in [
        (&[("ELASTICSEARCH_LOGS_STREAM", "logs-a-b")][..], "ELASTICSEARCH_URL"),
        (&[("CLOUDWATCH_EMF", "true")], "CLOUDWATCH_NAMESPACE"),
        (&[("CLOUDWATCH_EMF", "maybe"), ("CLOUDWATCH_NAMESPACE", "shop")], "CLOUDWATCH_EMF"),
        (&[("CLOUDWATCH_NAMESPACE", "shop")], "AWS_REGION"),
        (&[("CLOUDWATCH_LOG_GROUP", "auto"), ("AWS_ACCESS_KEY_ID", "AKIA")], "AWS_SECRET_ACCESS_KEY"),
        (&[("CLOUDWATCH_NAMESPACE", "AWS/EC2"), ("AWS_REGION", "eu-central-1")], "namespace"),
        (
            &[
                ("CLOUDWATCH_NAMESPACE", "shop"),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ENDPOINT_URL", "http://10.0.0.1:5000"),
            ],
            "endpoint",
        ),
    ] {
        let stdout = refused(variables);
        assert!(stdout.contains("error: ") && stdout.contains(other), "{variables:?}: {stdout}");
    }
}

#[test]
#[ignore = "run by another test, in a process with variables"]
fn prints_what_is_wrong() {
    let error = Steeple::builder_from_env().and_then(|builder| builder.without_log_setup().build()).unwrap_err();
    println!("error: {error}");
}

#[test]
fn without_the_log_an_output_has_no_effect_and_that_is_a_warning() {
    let receiver = receiver();
    let lines = steeple::elasticsearch::Elasticsearch::new(format!("http://{}", receiver.address()), "logs-a-b");
    let steeple = Steeple::builder().without_log_setup().elasticsearch(|options| options.lines(lines)).build().unwrap();
    let shown = format!("{steeple:?}");
    assert!(shown.contains("ELASTICSEARCH_LOGS_STREAM has no effect"), "{shown}");
}
