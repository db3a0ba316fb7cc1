//! A day of a service with 1,000 routes: what its page takes of the memory. Small in CI, a whole day in `.ci/soak`.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use steeple::{
    Exchange, Steeple, User,
    metrics::indicator::{Clock, HistoryOptions, Tier},
};
use steeple_tests::process::{parameter, ran_alone, settled_bytes};
use tower::ServiceExt;

const ROUTES: usize = 1_000;
/// What the history may take (4 MB), the lists of requests, and the frame that was encoded last: 4 MB as well.
const MOST: u64 = 8_000_000;

async fn ask(app: &Router, path: String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure of `.ci/soak`")]
fn a_day_of_a_thousand_routes_takes_fixed_memory() {
    if ran_alone("dashboard_day::a_day_of_a_thousand_routes_takes_fixed_memory") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let steps: u32 = parameter("STEEPLE_DASHBOARD_STEPS", 720);
        let steeple = Steeple::builder().without_log_setup().build().unwrap();
        let clock = Clock::manual(Duration::from_secs(1_790_000_000));
        let history = steeple.metrics().history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
        let mut app = Router::new();
        for route in 0..ROUTES {
            let answer = async move |exchange: Exchange| {
                exchange.set_user(User::new(format!("user {}", route % 100)));
                if route % 50 == 7 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
            };
            app = app.route(&format!("/things/{route}/{{id}}"), get(answer));
        }
        let app: Router = app.layer(steeple.layer());
        // Each route has been used before the page is there: what its metrics take is not the page's.
        for route in 0..ROUTES {
            ask(&app, format!("/things/{route}/1")).await;
        }
        let before = settled_bytes();
        let dashboard = steeple.dashboard_handle().expect("there is a dashboard");
        history.sample();
        let mut route = 0;
        for step in 0..steps {
            for _ in 0..20 {
                route = (route + 7) % ROUTES;
                ask(&app, format!("/things/{route}/{step}")).await;
            }
            clock.advance(Duration::from_secs(10));
            history.sample();
            if step % 6 == 0 {
                // Somebody looks, at all of it.
                drop(dashboard.frame(None));
            }
        }
        let whole = dashboard.frame(None);
        let after = settled_bytes();
        let minutes = history.frames(Tier::Minute, 0).len();
        assert_eq!(minutes, usize::try_from(steps / 6).unwrap().min(Tier::Minute.capacity()));
        assert!(dashboard.real_time().routes.len() <= 200);
        if let (Some(before), Some(after)) = (before, after) {
            let over = after.saturating_sub(before);
            println!(
                "dashboard: {steps} samples of {ROUTES} routes, {over} bytes over what it was, a frame of {}",
                whole.len()
            );
            assert!(over <= MOST, "{over} bytes more after {steps} samples");
        }
    });
}
