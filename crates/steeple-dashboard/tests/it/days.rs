//! Days in seconds: a service of a thousand routes with an incident every two hours, on a clock that does not wait.
//!
//! `STEEPLE_SIMULATED_HOURS` of them: a few here, three days in `.ci/soak`.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use steeple_alerts::{Alerts, Rules, message::Status};
use steeple_core::{Exchange, ObserveLayer};
use steeple_dashboard::{Dashboard, Requests};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions, Tier},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const ROUTES: usize = 1_000;
/// A sample is taken every ten seconds, as without viewers.
const STEP: u64 = 10;
const SAMPLES_AN_HOUR: u64 = 3600 / STEP;
const REQUESTS: usize = 20;

#[derive(Clone, Copy)]
struct Ask {
    route: &'static str,
    status: StatusCode,
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let ask = *request.extensions().get::<Ask>().unwrap();
    request.extensions().get::<Exchange>().unwrap().report_route(ask.route);
    let mut response = Response::new(Body::from("ok"));
    *response.status_mut() = ask.status;
    Ok(response)
}

/// What the process has of memory, in KiB. `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how much there is to do")]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this test to see")]
async fn in_simulated_days_each_request_is_in_one_frame_each_incident_is_one_alert_and_memory_stays() {
    let hours: u64 = std::env::var("STEEPLE_SIMULATED_HOURS").map_or(3, |hours| hours.parse().unwrap());
    let routes: Vec<&'static str> = (0..ROUTES).map(|n| &*format!("/r{n}/{{id}}").leak()).collect();
    let metrics = Metrics::builder().max_routes(2 * ROUTES).build().unwrap();
    let clock = Clock::manual(Duration::from_secs(1_790_000_000));
    let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
    let requests = Requests::default();
    let alerts = Alerts::builder().rules(Rules::mission().guarded()).build(&metrics).unwrap();
    let dashboard = Dashboard::builder().requests(requests.clone()).alerts(alerts.clone()).build(&metrics).unwrap();
    let service =
        ServiceBuilder::new().layer(ObserveLayer::new((metrics.clone(), requests))).service(service_fn(answer));
    history.sample();

    let (mut fired, mut resolved, mut incidents, mut seen) = (0_u64, 0_u64, 0_u64, 0_usize);
    // How many requests came in each hour, and what memory was after the first day or half of the time.
    let (mut sent, mut warm) = (Vec::new(), None);
    let mut next = 0;
    for hour in 0..hours {
        let is_incident_hour = hour % 2 == 1;
        incidents += u64::from(is_incident_hour);
        for sample in 0..SAMPLES_AN_HOUR {
            // Half of all fail for ten minutes.
            let is_incident = is_incident_hour && (60..120).contains(&sample);
            for n in 0..REQUESTS {
                let status = if is_incident && n % 2 == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                let mut request = Request::new(Body::empty());
                request.extensions_mut().insert(Ask { route: routes[next % ROUTES], status });
                next += 1;
                service.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            }
            clock.advance(Duration::from_secs(STEP));
            history.sample();
            // The last 256 are remembered: looked at each time, none is missed.
            let all = alerts.notifications();
            let of_rate: Vec<_> = all.iter().filter(|one| one.rule == "high_error_rate").collect();
            seen = seen.min(of_rate.len());
            for one in &of_rate[seen..] {
                fired += u64::from(one.status == Status::Firing);
                resolved += u64::from(one.status == Status::Resolved);
            }
            seen = of_rate.len();
        }
        sent.push(SAMPLES_AN_HOUR * REQUESTS as u64);
        assert!(alerts.firing().iter().all(|rule| rule.name != "high_error_rate"), "hour {hour}: it is over");
        if hour + 1 == hours.div_ceil(2).min(25) {
            // Whoever opens the page gets the whole day.
            let whole = dashboard.frame(None).len();
            println!("after {} simulated hours: a whole frame has {} KiB", hour + 1, whole / 1024);
            warm = resident();
        }
    }
    assert_eq!((fired, resolved), (incidents, incidents), "each incident once");
    let day = hours.min(24);
    let kept: u64 = history.frames(Tier::Minute, 0).iter().map(|frame| u64::from(frame.requests)).sum();
    let of_day: u64 = sent.iter().rev().take(usize::try_from(day).unwrap()).sum();
    // The minute that is not over is not in a frame yet, and a day has one frame more or less.
    let slack = 2 * 6 * REQUESTS as u64;
    assert!(kept.abs_diff(of_day) <= slack, "{kept} of {of_day}");
    let grown = warm.zip(resident()).map(|(before, after)| after.saturating_sub(before) / 1024);
    println!(
        "{hours} simulated hours of {ROUTES} routes: {next} requests, {kept} of {of_day} in the last day's frames, {incidents} incidents, {fired} fired, {resolved} resolved, {grown:?} MiB grown since half of it"
    );
    assert!(grown.is_none_or(|grown| grown <= 32), "{grown:?} MiB");
}
