//! Objectives become rules that Prometheus' own tool takes, and whose alerts fire when they must and only then.

use std::{convert::Infallible, fmt::Write, time::Duration};

use crate::support::{Page, TestBody, call, promtool, request};
use http::Response;
use steeple_core::{Exchange, RouteOptions};
use steeple_metrics::{Buckets, Metrics, Objective, RouteMetrics, Rules};

#[tokio::test]
async fn an_objective_bound_to_a_route_becomes_a_bucket_and_rules() {
    let metrics = Metrics::new().unwrap();
    let objective = Objective::success(0.999).latency(Duration::from_millis(300), 0.99);
    let options = RouteOptions::new().objective(objective.clone()).layer().unwrap();
    call(&metrics, request("GET", "/users/{id}"), |exchange: Exchange| async move {
        options.apply(&exchange);
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    })
    .await;
    let labels = r#"method="GET",route="/users/{id}",status_code="200",le="0.3""#;
    assert_eq!(Page::of(&metrics).value("http_request_duration_seconds_bucket", labels), 1.0);
    let learned = metrics.rules().render().unwrap();
    let rules = Rules::new().route("GET", "/users/{id}", objective);
    assert!(rules.render().unwrap_err().is_objective(), "without a bucket, slow requests cannot be counted");
    let buckets = Buckets::opentelemetry().with_bound(0.3);
    assert_eq!(learned, rules.buckets(buckets).render().unwrap());
}

#[test]
fn an_objective_of_microseconds_fires_in_every_format_of_its_bucket() {
    let objective = Objective::only_latency(Duration::from_micros(50), 0.99);
    let buckets = Buckets::opentelemetry().with_bound(0.000_05);
    let rules = Rules::new().route("GET", "/users/{id}", objective).buckets(buckets);
    for le in ["0.00005", "5e-5", "5e-05"] {
        let fast = FAST.replace("le=\"1\"", &format!("le=\"{le}\""));
        check(&rules, &[(&fast, "0+800x120"), (ALL, "0+1000x120")], &[("HttpLatencyBudgetBurn", &["page", "ticket"])]);
        check(&rules, &[(&fast, "0+995x120"), (ALL, "0+1000x120")], &[("HttpLatencyBudgetBurn", &[])]);
    }
}

#[test]
fn an_objective_of_ten_nines_has_a_limit_above_zero() {
    let rules = Rules::new().route("GET", "/users/{id}", Objective::success(0.999_999_999_9));
    let file = rules.render().unwrap();
    assert!(file.contains("> 0.00000000144 ") && !file.contains("> 0 ") && !file.contains("> 0)"), "{file}");
    assert!(file.contains("Objective: 0.9999999999 of requests succeed"), "{file}");
    check(&rules, &[(OK, "0+1000x120"), (FAILED, "0+0x120")], &[("HttpErrorBudgetBurn", &[])]);
    check(&rules, &[(OK, "0+999x120"), (FAILED, "0+1x120")], &[("HttpErrorBudgetBurn", &["page", "ticket"])]);
}

#[test]
fn impossible_objectives_are_refused() {
    for objective in [
        Objective::success(1.0),
        Objective::success(0.0),
        Objective::success(f64::NAN),
        Objective::success(0.9).latency(Duration::ZERO, 0.9),
        Objective::only_latency(Duration::from_secs(1), 1.5),
    ] {
        assert!(
            Metrics::builder()
                .route("/", RouteOptions::new().objective(objective.clone()))
                .build()
                .unwrap_err()
                .is_objective()
        );
        assert!(Rules::new().route("GET", "/", objective).render().unwrap_err().is_objective());
    }
}

fn objectives() -> Rules {
    Rules::new()
        .route("GET", "/users/{id}", Objective::success(0.999).latency(Duration::from_secs(1), 0.99))
        .route("POST", "/odd \"quotes\" \\ and {{braces}}", Objective::success(0.5))
        .route("GET", "/exports/{*path}", Objective::only_latency(Duration::from_millis(2500), 0.95))
}

#[test]
fn the_file_loads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yml");
    for rules in [Rules::new(), objectives(), objectives().min_requests_per_hour(100.0)] {
        std::fs::write(&file, rules.render().unwrap()).unwrap();
        promtool(&["check", "rules", file.to_str().unwrap()], None);
    }
}

/// What `promtool test rules` reads: a service under these requests, and the alerts that must fire at an hour and a half.
fn scenario(series: &[(&str, &str)], alerts: &[(&str, &[&str])]) -> String {
    let mut test =
        String::from("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n");
    for (series, values) in series {
        writeln!(test, "      - series: '{series}'\n        values: '{values}'").unwrap();
    }
    test += "    alert_rule_test: []\n    promql_expr_test:\n";
    for (alert, severities) in alerts {
        let samples: Vec<_> = severities
            .iter()
            .map(|severity| {
                format!(
                    "{{labels: '{{alertname=\"{alert}\",alertstate=\"firing\",job=\"app\",method=\"GET\",route=\"/users/{{id}}\",severity=\"{severity}\"}}', value: 1}}"
                )
            })
            .collect();
        write!(
            test,
            "      - expr: 'sum by (alertname,alertstate,job,method,route,severity) (ALERTS{{alertname=\"{alert}\"}})'\n        eval_time: 90m\n        exp_samples: [{}]\n",
            samples.join(", ")
        ).unwrap();
    }
    test
}

fn check(rules: &Rules, series: &[(&str, &str)], alerts: &[(&str, &[&str])]) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yml"), rules.render().unwrap()).unwrap();
    let file = directory.path().join("test.yml");
    std::fs::write(&file, scenario(series, alerts)).unwrap();
    promtool(&["test", "rules", file.to_str().unwrap()], None);
}

const OK: &str = r#"http_requests_total{job="app",method="GET",route="/users/{id}",status_code="200"}"#;
const FAILED: &str = r#"http_requests_total{job="app",method="GET",route="/users/{id}",status_code="500"}"#;
const BROKEN: &str = r#"http_requests_aborted_total{job="app",method="GET",route="/users/{id}",outcome="body_error"}"#;
const FAST: &str =
    r#"http_request_duration_seconds_bucket{job="app",method="GET",route="/users/{id}",status_code="200",le="1"}"#;
const ALL: &str =
    r#"http_request_duration_seconds_count{job="app",method="GET",route="/users/{id}",status_code="200"}"#;

#[test]
fn a_burn_fires_and_its_absence_does_not() {
    // 3 % of the requests fail, of which 0.1 % may: thirty times too fast.
    check(&objectives(), &[(OK, "0+970x120"), (FAILED, "0+30x120")], &[("HttpErrorBudgetBurn", &["page", "ticket"])]);
    // One in two thousand fails: half as fast as it may.
    check(&objectives(), &[(OK, "0+1999x120"), (FAILED, "0+1x120")], &[("HttpErrorBudgetBurn", &[])]);
    // Nothing has ever failed; and nothing has ever come.
    check(&objectives(), &[(OK, "0+1000x120")], &[("HttpErrorBudgetBurn", &[]), ("HttpLatencyBudgetBurn", &[])]);
    check(&objectives(), &[(OK, "0+0x120")], &[("HttpErrorBudgetBurn", &[])]);
    // Four times too fast: no page, a ticket.
    check(&objectives(), &[(OK, "0+996x120"), (FAILED, "0+4x120")], &[("HttpErrorBudgetBurn", &["ticket"])]);
}

#[test]
fn a_burn_that_is_over_stops_to_page() {
    let series = [(OK, "0+970x60 58200+1000x60"), (FAILED, "0+30x60 1800+0x60")];
    check(&objectives(), &series, &[("HttpErrorBudgetBurn", &["ticket"])]);
}

#[test]
fn bodies_that_break_are_errors_although_their_status_was_fine() {
    check(&objectives(), &[(OK, "0+1000x120"), (BROKEN, "0+30x120")], &[("HttpErrorBudgetBurn", &["page", "ticket"])]);
}

#[test]
fn a_latency_budget_burns_by_what_is_slower_than_its_target() {
    let whole = FAST.replace("le=\"1\"", "le=\"1.0\"");
    for fast in [FAST, &whole] {
        check(
            &objectives(),
            &[(fast, "0+800x120"), (ALL, "0+1000x120")],
            &[("HttpLatencyBudgetBurn", &["page", "ticket"])],
        );
        check(&objectives(), &[(fast, "0+995x120"), (ALL, "0+1000x120")], &[("HttpLatencyBudgetBurn", &[])]);
    }
}

#[test]
fn a_route_with_few_requests_stays_quiet_if_asked_to() {
    let series = [(OK, "0+1x120"), (FAILED, "0+1x120")];
    check(&objectives(), &series, &[("HttpErrorBudgetBurn", &["page", "ticket"])]);
    check(&objectives().min_requests_per_hour(1_000.0), &series, &[("HttpErrorBudgetBurn", &[])]);
}
