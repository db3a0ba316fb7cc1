//! Every pipeline of events passes the checks that all pipelines pass.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::json;
use steeple_core::User;
use steeple_export::{
    Endpoint, Protocol,
    test_util::{Partial, Reply, Subject, check_all},
};
use steeple_scrub::Scrubber;

use super::{elasticsearch::Documents, mixpanel::Import, newrelic::EventApi, people::Engage};
use crate::{
    Class, Tracked,
    record::{Context, Kind, Names, Record},
};

/// Of one size, whatever its number.
fn item(number: usize, kind: Kind) -> Tracked {
    let context = Context { user: Some(User::new("u-42")), ..Context::default() };
    let properties = json!({"number": format!("{number:08}")});
    let mut record = Record::begin(Names::Dynamic("tested".into()), Class::Product, &properties, context).unwrap();
    record.kind = kind;
    Tracked(Arc::new(record))
}

struct Checked<P> {
    make: fn(Endpoint) -> P,
    kind: Kind,
    accepts: &'static str,
    partial: Option<&'static str>,
}

impl<P: Protocol<Item = Tracked> + Sync> Subject for Checked<P> {
    type Protocol = P;

    fn protocol(&self, endpoint: Endpoint) -> P {
        (self.make)(endpoint)
    }

    fn item(&self, number: usize) -> Tracked {
        item(number, self.kind)
    }

    fn accepts(&self) -> Reply {
        Reply::ok(self.accepts)
    }

    fn partial(&self) -> Option<Partial> {
        let body = self.partial?.to_owned();
        let reply = Reply::Answer { status: http::StatusCode::BAD_REQUEST, headers: Vec::new(), body };
        Some(Partial { reply, stored: 3, poisoned: 1 })
    }
}

#[test]
fn events_to_mixpanel() {
    check_all(Checked {
        make: |endpoint| Import { scrubber: Scrubber::default(), service: Arc::default(), endpoint },
        kind: Kind::Event,
        accepts: r#"{"code":200}"#,
        partial: Some(r#"{"code":400,"failed_records":[{"index":1,"field":"properties.time"}]}"#),
    });
}

#[test]
fn profiles_to_mixpanel() {
    check_all(Checked {
        make: |endpoint| Engage { scrubber: Scrubber::default(), endpoint, token: "token".to_owned() },
        kind: Kind::PersonSet,
        accepts: r#"{"status":1}"#,
        partial: None,
    });
}

#[test]
fn events_to_new_relic() {
    check_all(Checked {
        make: |endpoint| EventApi {
            scrubber: Scrubber::default(),
            service: Arc::default(),
            endpoint,
            license_key: HeaderValue::from_static("license"),
        },
        kind: Kind::Event,
        accepts: r#"{"success":true}"#,
        partial: None,
    });
}

#[test]
fn events_to_elasticsearch() {
    check_all(Checked {
        make: |endpoint| Documents {
            scrubber: Scrubber::default(),
            service: Arc::default(),
            endpoint,
            stream: "logs-events".to_owned(),
            api_key: None,
        },
        kind: Kind::Event,
        accepts: r#"{"errors":false,"items":[]}"#,
        partial: None,
    });
}
