//! Jobs: each failure once, check-ins, and no request on an event that has none.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that failed")]

use std::sync::Arc;

use sentry_core::{
    protocol::{Context, EnvelopeItem, MonitorCheckIn, MonitorCheckInStatus},
    test::TestTransport,
};
use steeple_core::{Exchange, Job, Operation};
use steeple_sentry::{CheckIn, Sentry};

const DSN: &str = "https://public@sentry.invalid/1";

fn sentry() -> (Arc<TestTransport>, Sentry) {
    let transport = TestTransport::new();
    let options = Sentry::builder(DSN).environment("test").traces_sample_rate(1.0).transport(Arc::clone(&transport));
    (transport, options.build().unwrap())
}

#[tokio::test]
async fn a_job_that_fails_is_one_event_with_its_name_and_no_request() {
    let (transport, sentry) = sentry();
    let observe = steeple_core::ObserveLayer::new((sentry.jobs(),));
    let failed = observe.job(Job::new("nightly import").with(Operation("cron")), async {
        steeple_sentry::set_tag("shard", "7");
        Exchange::current().unwrap().set_attribute("rows", 17_i64);
        Err::<(), _>(std::io::Error::other("password=hunter2hunter2 was refused"))
    });
    assert!(failed.await.is_err());
    observe.job(Job::new("nightly import"), async {}).await;
    assert!(sentry.flush(std::time::Duration::from_secs(60)));
    let items: Vec<_> =
        transport.fetch_and_clear_envelopes().into_iter().flat_map(sentry_core::Envelope::into_items).collect();
    let events: Vec<_> = items
        .iter()
        .filter_map(|item| if let EnvelopeItem::Event(event) = item { Some(event) } else { None })
        .collect();
    assert_eq!(events.len(), 1, "{items:#?}");
    let event = events[0];
    assert_eq!((event.transaction.as_deref(), event.request.is_none()), (Some("nightly import"), true), "{event:#?}");
    assert_eq!((event.tags["shard"].as_str(), event.extra["rows"].as_i64()), ("7", Some(17)));
    let Some(Context::Trace(trace)) = event.contexts.get("trace") else { unreachable!("{event:#?}") };
    assert_eq!(trace.op.as_deref(), Some("cron"));
    assert!(!format!("{items:?}").contains("hunter2"));
    let transactions = items
        .iter()
        .filter(|item| matches!(item, EnvelopeItem::Transaction(one) if one.name.as_deref() == Some("nightly import")));
    assert_eq!(transactions.count(), 2, "{items:#?}");
}

#[tokio::test]
async fn a_job_checks_in_when_it_begins_and_when_it_ends() {
    let (transport, sentry) = sentry();
    let observe = steeple_core::ObserveLayer::new((sentry.jobs(),));
    let job = || Job::new("import").with(CheckIn::new("nightly-import").crontab("0 3 * * *").max_runtime_minutes(30));
    observe.job(job(), async {}).await;
    assert!(observe.job(job(), async { Err::<(), _>("no file") }).await.is_err());
    assert!(sentry.flush(std::time::Duration::from_secs(60)));
    let items = transport.fetch_and_clear_envelopes().into_iter().flat_map(sentry_core::Envelope::into_items);
    let check_ins: Vec<MonitorCheckIn> = items
        .filter_map(|item| if let EnvelopeItem::MonitorCheckIn(check_in) = item { Some(check_in) } else { None })
        .collect();
    let [begun, well, begun_again, failed] = &*check_ins else { unreachable!("{check_ins:#?}") };
    assert!(matches!(begun.status, MonitorCheckInStatus::InProgress) && begun.duration.is_none());
    assert!(matches!(well.status, MonitorCheckInStatus::Ok) && well.duration.is_some());
    assert!(matches!(failed.status, MonitorCheckInStatus::Error));
    assert_eq!((begun.check_in_id, begun_again.check_in_id), (well.check_in_id, failed.check_in_id));
    assert_ne!(begun.check_in_id, failed.check_in_id);
    assert!(check_ins.iter().all(|one| one.monitor_slug == "nightly-import"));
    assert_eq!(begun.monitor_config.as_ref().unwrap().max_runtime, Some(30));
}
