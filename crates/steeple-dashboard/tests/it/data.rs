use std::time::Duration;

use http::Method;
use steeple_alerts::{Alerts, Rules};

use crate::kit::{Service, from};

#[tokio::test]
async fn numbers_are_those_of_the_metrics_after_a_known_load() {
    let service = Service::local();
    for n in 0..90 {
        service.get(&format!("/ok/{n}")).await;
    }
    for _ in 0..10 {
        service.get("/fail").await;
    }
    service.advance(Duration::from_secs(10));
    let frame = service.frame("").await;
    let tens = &frame["tens"];
    assert_eq!((tens["t"].as_array().unwrap().len(), &tens["requests"][0], &tens["ok"][0]), (1, &10.into(), &9.into()));
    let now = &frame["real_time"];
    assert_eq!(now["error_ratio"]["now"], 0.1);
    assert_eq!(now["requests_per_minute"]["now"], 600);
    let routes = now["routes"].as_array().unwrap();
    assert_eq!((routes[0]["route"].as_str(), routes[0]["requests"].as_u64()), (Some("/ok/{id}"), Some(90)));
    assert_eq!((routes[1]["route"].as_str(), routes[1]["error_ratio"].as_u64()), (Some("/fail"), Some(1)));
    let failed = frame["requests"]["failed"].as_array().unwrap();
    assert_eq!(
        (failed.len(), failed[0]["route"].as_str(), failed[0]["status"].as_u64()),
        (10, Some("/fail"), Some(500))
    );
    assert!(
        (service.dashboard.real_time().error_ratio.now.unwrap() - 0.1).abs() < 1e-9,
        "the function returns the same"
    );
}

#[tokio::test]
async fn after_a_cursor_comes_what_is_new_and_an_unknown_cursor_gets_the_whole() {
    let service = Service::local();
    for _ in 0..3 {
        service.get("/ok/1").await;
        service.advance(Duration::from_secs(10));
    }
    let whole = service.frame("").await;
    assert_eq!((&whole["whole"], whole["tens"]["t"].as_array().unwrap().len()), (&true.into(), 3));
    let cursor = whole["cursor"].as_str().unwrap();
    let nothing = service.frame(cursor).await;
    assert_eq!((&nothing["whole"], nothing.get("tens"), nothing.get("slow")), (&false.into(), None, None));
    service.get("/fail").await;
    service.advance(Duration::from_secs(10));
    let more = service.frame(cursor).await;
    assert_eq!(more["tens"]["t"].as_array().unwrap().len(), 1);
    assert_eq!(more["requests"]["failed"].as_array().unwrap().len(), 1);
    for unknown in ["two-1.0.0.0.0", "nonsense", "one-1790000000000.1.2"] {
        assert_eq!(service.frame(unknown).await["whole"], true, "{unknown}");
    }
}

#[tokio::test]
async fn a_day_of_a_thousand_routes_is_a_frame_that_a_phone_can_load() {
    let service = Service::local();
    let mut routes = 0_u32;
    for minute in 0..1500_u32 {
        for _ in 0..4 {
            let route = format!("/{}", routes % 1000);
            routes += 1;
            service.get(&route).await;
            service.get(&format!("/ok/{routes}")).await;
        }
        service.clock.advance(Duration::from_secs(60));
        if minute % 7 == 0 {
            service.get("/fail").await;
        }
        service.metrics.history().sample();
    }
    let frame = service.dashboard.frame(None);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &frame).unwrap();
    let gzipped = encoder.finish().unwrap().len();
    assert!(gzipped <= 300 * 1024, "{gzipped} bytes of {}", frame.len());
    let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(frame["minutes"]["t"].as_array().unwrap().len(), 1440, "the past is there");
    assert!(frame["real_time"]["requests_per_minute"]["hour_ago"].is_number());
}

#[tokio::test]
async fn texts_of_clients_stay_texts_and_secrets_stay_here() {
    const EVIL: &str = "<img src=x onerror=alert(1)>";
    let service = Service::new(|builder, _| builder.setting("url", "https://user:hunter2@db.example/"));
    service.advance(Duration::from_secs(10));
    let frame = String::from_utf8(service.dashboard.frame(None).to_vec()).unwrap();
    assert!(frame.contains("[redacted") && !frame.contains("hunter2"), "{frame}");
    let response = service.send(from("127.0.0.1:1", Method::GET, "/steeple/frame", &[("host", EVIL)])).await;
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn a_firing_alert_is_acknowledged_and_silenced_from_the_page_alone() {
    let service = Service::new(|builder, metrics| {
        builder.alerts(Alerts::builder().rules(Rules::mission().guarded()).build(metrics).unwrap())
    });
    for _ in 0..30 {
        service.get("/fail").await;
    }
    service.advance(Duration::from_secs(10));
    let rule = |frame: serde_json::Value| {
        let rules = frame["alerts"]["rules"].as_array().unwrap().clone();
        rules.into_iter().find(|rule| rule["name"] == "high_error_rate").unwrap()
    };
    let before = rule(service.frame("").await);
    assert_eq!((&before["is_firing"], &before["is_acknowledged"]), (&true.into(), &false.into()), "{before}");
    let page = [("host", "localhost"), ("sec-fetch-site", "same-origin")];
    let elsewhere = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
    for (headers, path, body, want) in [
        (&elsewhere, "acknowledge", r#"{"rule":"high_error_rate"}"#, 403),
        (&page, "acknowledge", r#"{"rule":"no_such_rule"}"#, 404),
        (&page, "acknowledge", "nonsense", 400),
        (&page, "acknowledge", r#"{"rule":"high_error_rate"}"#, 204),
        (&page, "silence", r#"{"rule":"high_error_rate","minutes":0}"#, 400),
        (&page, "silence", r#"{"rule":"high_error_rate","minutes":100000}"#, 400),
        (&elsewhere, "silence", r#"{"rule":"high_error_rate","minutes":60}"#, 403),
        (&page, "silence", r#"{"rule":"high_error_rate","minutes":60}"#, 204),
    ] {
        let mut request = from("127.0.0.1:1", Method::POST, &format!("/steeple/{path}"), headers);
        *request.body_mut() = axum::body::Body::from(body);
        assert_eq!(service.send(request).await.status(), want, "{path} {body}");
    }
    let rules = service.get("/steeple/rules.yml").await.1;
    assert!(rules.starts_with("groups:\n") && rules.contains("alert: high_error_rate"), "{rules}");
    service.advance(Duration::from_secs(1));
    let frame = service.frame("").await;
    assert_eq!(frame["alerts"]["silences"][0]["rule"], "high_error_rate");
    assert_eq!(rule(frame)["is_acknowledged"], true);
}
