//! Where events go: one file for each system, each behind a feature.
//!
//! | sink | feature | takes | what makes a second delivery harmless |
//! | --- | --- | --- | --- |
//! | [`Mixpanel`] | `mixpanel` | analytics consent | `$insert_id`, time, name and user are the same at each try |
//! | [`Ga4`] | `ga4` | analytics consent and a `_ga` cookie | `transaction_id` of purchases only |
//! | [`NewRelic`] | `newrelic` | all | `event.id`, for `uniqueCount` |
//! | [`Elasticsearch`] | `elasticsearch` | all | the document's `_id`, with `create` |
//! | [`Webhook`] | `webhook` | all | `webhook-id` |
//! | [`Ndjson`] | `ndjson` | all | `id` |

#[cfg(feature = "elasticsearch")]
mod elasticsearch;
#[cfg(any(feature = "webhook", feature = "ndjson"))]
mod envelope;
#[cfg(feature = "elasticsearch")]
mod erasures;
#[cfg(test)]
mod every_pipeline;
#[cfg(test)]
mod fixtures;
#[cfg(feature = "ga4")]
mod ga4;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "mixpanel")]
mod mixpanel;
#[cfg(feature = "ndjson")]
mod ndjson;
#[cfg(feature = "newrelic")]
mod newrelic;
#[cfg(feature = "mixpanel")]
mod people;
#[cfg(feature = "webhook")]
mod webhook;

#[cfg(feature = "elasticsearch")]
pub use self::elasticsearch::Elasticsearch;
#[cfg(feature = "ga4")]
pub use self::ga4::Ga4;
#[cfg(feature = "http")]
pub use self::http::{endpoint, secret, start};
#[cfg(feature = "mixpanel")]
pub use self::mixpanel::{Mixpanel, MixpanelApi, MixpanelRegion};
#[cfg(feature = "ndjson")]
pub use self::ndjson::Ndjson;
#[cfg(feature = "newrelic")]
pub use self::newrelic::{NewRelic, NewRelicRegion};
#[cfg(feature = "webhook")]
pub use self::webhook::Webhook;

/// Whether a receiver takes an event of that time: by the clock as it is, or as it was before someone set it.
#[cfg(any(feature = "ga4", feature = "newrelic"))]
fn in_window(event: &crate::Outgoing, fits: impl Fn(u64, u64) -> bool) -> Result<(), steeple_export::DropReason> {
    let millis = |now: std::time::Duration| u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let clocks = [steeple_core::clock::unix_now(), steeple_core::clock::unix_steady()];
    let fits = clocks.into_iter().any(|now| fits(millis(now), event.unix_millis()));
    if fits { Ok(()) } else { Err(steeple_export::DropReason::Expired) }
}

#[cfg(test)]
pub(crate) mod test_support {
    use std::sync::Arc;

    use serde_json::Value;
    use steeple_core::User;
    use steeple_scrub::Scrubber;

    use crate::{
        Class, Outgoing, Service, Tracked, Visitor,
        record::{Context, Names, Record},
    };

    pub(crate) fn service() -> Service {
        Service::new("shop").version("1.2.3").environment("staging")
    }

    #[cfg(feature = "http")]
    pub(crate) fn response(status: u16) -> steeple_export::Response {
        steeple_export::Response::new(http::StatusCode::from_u16(status).unwrap())
    }

    pub(crate) fn outgoing(name: &str, properties: &Value, user: Option<&str>) -> Outgoing {
        with_context(name, properties, Context { user: user.map(User::new), ..Context::default() })
    }

    pub(crate) fn outgoing_of_visitor(name: &str, properties: &Value, user: Option<&str>, cookies: &str) -> Outgoing {
        let headers = http::HeaderMap::from_iter([(http::header::COOKIE, cookies.parse().unwrap())]);
        let visitor = Visitor::of(&headers, true);
        with_context(name, properties, Context { user: user.map(User::new), visitor, ..Context::default() })
    }

    fn with_context(name: &str, properties: &Value, context: Context) -> Outgoing {
        tracked(name, properties, context).scrub(&Scrubber::default()).into_inner()
    }

    pub(crate) fn tracked(name: &str, properties: &Value, context: Context) -> Tracked {
        let record = Record::new(Names::Dynamic(Arc::from(name)), Class::Product, properties, context).unwrap();
        Tracked(record)
    }

    pub(crate) fn person(user: &str, properties: &Value) -> Outgoing {
        change(user, properties).scrub(&Scrubber::default()).into_inner()
    }

    /// A change of a user's profile.
    pub(crate) fn change(user: &str, properties: &Value) -> Tracked {
        let context = Context { user: Some(User::new(user)), ..Context::default() };
        let mut record = Record::begin(Names::Dynamic("person".into()), Class::Identity, properties, context).unwrap();
        record.kind = crate::record::Kind::PersonSet;
        Tracked(Arc::new(record))
    }
}
