//! Events that most products have. Each is counted by its role or by its own counter.
//!
//! | event | name | New Relic | GA4 | counted as |
//! | --- | --- | --- | --- | --- |
//! | [`UserRegistration`] | `sign_up` | `UserRegistration` | `sign_up` | `user_registrations_total{source}` |
//! | [`UserLogin`] | `login` | `UserLogin` | `login` | `user_logins_total{method}` |
//! | [`ProjectCreated`] | `project_created` | `ProjectCreated` | `project_created` | `projects_created_total{type}` |
//! | [`TaskCompleted`] | `task_completed` | `TaskCompleted` | `task_completed` | `tasks_completed_total`, `task_completion_duration_seconds` |
//! | [`FeatureUsed`] | `feature_used` | `FeatureUsed` | `feature_used` | `features_used_total{feature}` |
//! | [`JourneyStep`] | `journey_step` | `UserJourneyStep` | `journey_step` | `journey_steps_total{journey,step}` |
//! | [`Conversion`] | `conversion` | `Conversion` | `conversion` | `conversions_total{from,to}` |
//! | [`Revenue`] | `revenue` | `Revenue` | `purchase` | `revenue_minor_units_total{currency}` |
//! | [`Payment`] | `payment` | `Payment` | `payment` | `payments_total{result}` |
//! | [`PageView`] | `page_view` | `PageViewed` | `page_view` | `page_views_total` |
//! | [`Generic`] | `generic` | `GenericEvent` | `generic` | `generic_events_total{category,action}` |
//! | [`ApiResponse`] | `api_response` | `ApiResponse` | `api_response` | |
//! | [`DatabaseQuery`] | `database_query` | `DatabaseQuery` | `database_query` | |
//! | [`CacheOperation`] | `cache_operation` | `CacheOperation` | `cache_operation` | |

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{Counter, Role, event};

/// Someone registered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UserRegistration<'a> {
    /// Where they came from: `organic`, `ads`. One of a few words.
    #[serde(rename = "method")]
    pub source: &'a str,
}

event!(
    UserRegistration<'_>: "sign_up",
    class = Identity,
    new_relic = "UserRegistration",
    mixpanel = "Sign Up",
    role = |event| Role::SignUp { source: event.source },
);

/// A user logged in.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UserLogin<'a> {
    /// How: `password`, `google`. One of a few words.
    pub method: &'a str,
}

event!(
    UserLogin<'_>: "login",
    class = Identity,
    new_relic = "UserLogin",
    mixpanel = "Login",
    role = |event| Role::Login { method: event.method },
);

/// A project was created.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProjectCreated<'a> {
    /// Of which type: one of a few words.
    #[serde(rename = "type")]
    pub kind: &'a str,
}

event!(
    ProjectCreated<'_>: "project_created",
    new_relic = "ProjectCreated",
    mixpanel = "Project Created",
    role = |event| Role::ProjectCreated { kind: event.kind },
);

/// A task was completed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TaskCompleted {
    /// How long after it was begun.
    #[serde(rename = "duration_seconds", serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

event!(
    TaskCompleted: "task_completed",
    new_relic = "TaskCompleted",
    mixpanel = "Task Completed",
    role = |event| Role::TaskCompleted { duration: event.duration },
);

/// A feature of the product was used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FeatureUsed<'a> {
    /// Which one: one of a few words.
    pub feature: &'a str,
}

static FEATURES: Counter =
    Counter { name: "features_used_total", help: "Uses of features, by feature.", labels: &["feature"] };

event!(
    FeatureUsed<'_>: "feature_used",
    new_relic = "FeatureUsed",
    mixpanel = "Feature Used",
    counter = |event| (&FEATURES, [event.feature, ""]),
);

/// A user reached a step of a journey: onboarding, checkout.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct JourneyStep<'a> {
    /// Which journey: one of a few words.
    pub journey: &'a str,
    /// Which step of it: one of a few words.
    pub step: &'a str,
}

static JOURNEY_STEPS: Counter = Counter {
    name: "journey_steps_total",
    help: "Steps that users reached, by journey and step.",
    labels: &["journey", "step"],
};

event!(
    JourneyStep<'_>: "journey_step",
    new_relic = "UserJourneyStep",
    mixpanel = "User Journey Step",
    counter = |event| (&JOURNEY_STEPS, [event.journey, event.step]),
);

/// A user did what the product wants of them: a trial became a subscription.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Conversion<'a> {
    /// The step before: `trial`.
    pub from: &'a str,
    /// The step reached: `subscription`.
    pub to: &'a str,
    /// What it is worth, in the unit that the team uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

event!(
    Conversion<'_>: "conversion",
    class = Identity,
    new_relic = "Conversion",
    mixpanel = "Conversion",
    role = |event| Role::Conversion { from: event.from, to: event.to },
);

/// Money was earned.
#[derive(Clone, Copy, Debug)]
pub struct Revenue<'a> {
    /// In the currency's minor unit: 1250 for 12.50 EUR, 1250 for 1,250 JPY. Negative: a refund.
    pub minor_units: i64,
    /// The currency's ISO 4217 code: `EUR`.
    pub currency: &'a str,
    /// What identifies the transaction. GA4 counts a purchase with the same id once.
    pub transaction_id: &'a str,
}

event!(
    Revenue<'_>: "revenue",
    class = Revenue,
    new_relic = "Revenue",
    ga4 = "purchase",
    mixpanel = "Revenue",
    role = |event| Role::Revenue { minor_units: event.minor_units, currency: event.currency },
);

impl Serialize for Revenue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Revenue", 4)?;
        out.serialize_field("value", &major_units(self.minor_units, self.currency))?;
        out.serialize_field("minor_units", &self.minor_units)?;
        out.serialize_field("currency", self.currency)?;
        out.serialize_field("transaction_id", self.transaction_id)?;
        out.end()
    }
}

/// A payment was tried.
#[derive(Clone, Copy, Debug)]
pub struct Payment<'a> {
    /// Whether it failed.
    pub failed: bool,
    /// In the currency's minor unit.
    pub minor_units: i64,
    /// The currency's ISO 4217 code: `EUR`.
    pub currency: &'a str,
}

event!(
    Payment<'_>: "payment",
    class = Revenue,
    new_relic = "Payment",
    mixpanel = "Payment",
    role = |event| Role::Payment { failed: event.failed },
);

impl Serialize for Payment<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Payment", 4)?;
        out.serialize_field("result", if self.failed { "failed" } else { "succeeded" })?;
        out.serialize_field("value", &major_units(self.minor_units, self.currency))?;
        out.serialize_field("minor_units", &self.minor_units)?;
        out.serialize_field("currency", self.currency)?;
        out.end()
    }
}

/// A page was looked at.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PageView<'a> {
    /// Scheme, host and route template, without query: `https://shop.example/items/{id}`.
    #[serde(rename = "page_location")]
    pub location: &'a str,
    /// The page's title.
    #[serde(rename = "page_title", skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
}

static PAGE_VIEWS: Counter = Counter { name: "page_views_total", help: "Pages that were looked at.", labels: &[] };

event!(
    PageView<'_>: "page_view",
    class = PageView,
    new_relic = "PageViewed",
    mixpanel = "Page View",
    counter = |_event| (&PAGE_VIEWS, ["", ""]),
);

/// Category, action, label and value, as older analytics systems have them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generic<'a> {
    /// One of a few words.
    pub category: &'a str,
    /// One of a few words.
    pub action: &'a str,
    /// What it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    /// How much of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

static GENERIC: Counter = Counter {
    name: "generic_events_total",
    help: "Generic events, by category and action.",
    labels: &["category", "action"],
};

event!(
    Generic<'_>: "generic",
    new_relic = "GenericEvent",
    mixpanel = "Generic",
    counter = |event| (&GENERIC, [event.category, event.action]),
);

/// An answer of an API: made by [`EventsBuilder::api_responses`](crate::EventsBuilder::api_responses), sampled.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ApiResponse<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The route's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// The status.
    pub status: u16,
    /// From the request head to the last byte of the answer, in milliseconds.
    pub duration_ms: f64,
}

event!(
    ApiResponse<'_>: "api_response",
    class = PageView,
    new_relic = "ApiResponse",
    mixpanel = "API Response",
);

/// A query of a database. Track it with [`Events::track_sampled`](crate::Events::track_sampled): there are many.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DatabaseQuery<'a> {
    /// What it does: `select`.
    pub operation: &'a str,
    /// To which table.
    pub table: &'a str,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Whether it failed. `None`: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
}

event!(
    DatabaseQuery<'_>: "database_query",
    class = PageView,
    new_relic = "DatabaseQuery",
    mixpanel = "Database Query",
);

/// An operation on a cache. Track it with [`Events::track_sampled`](crate::Events::track_sampled): there are many.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheOperation<'a> {
    /// What it does: `get`.
    pub operation: &'a str,
    /// What came of it: `hit`, `miss`, `stored`.
    pub result: &'a str,
}

event!(
    CacheOperation<'_>: "cache_operation",
    class = PageView,
    new_relic = "CacheOperation",
    mixpanel = "Cache Operation",
);

#[expect(clippy::ref_option, reason = "serde hands a field over like this")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

/// The amount in the currency's major unit, as analytics systems want it.
#[expect(clippy::cast_precision_loss, reason = "amounts below 90 trillion units are exact")]
fn major_units(minor_units: i64, currency: &str) -> f64 {
    minor_units as f64 / 10_f64.powi(exponent(currency))
}

/// Digits behind the point.
///
/// # Source
/// ISO 4217, table A.1, minor units; 2 where it lists nothing else.
fn exponent(currency: &str) -> i32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Event;

    #[test]
    fn amounts_follow_their_currencys_minor_unit() {
        let value = |minor_units, currency| {
            serde_json::to_value(Revenue { minor_units, currency, transaction_id: "t-1" }).unwrap()["value"].clone()
        };
        assert_eq!(value(1250, "EUR"), json!(12.5));
        assert_eq!(value(1250, "JPY"), json!(1250.0));
        assert_eq!(value(1250, "KWD"), json!(1.25));
        assert_eq!(value(-1250, "USD"), json!(-12.5));
    }

    #[test]
    fn presets_write_their_fields_and_take_their_roles() {
        let task = TaskCompleted { duration: Some(Duration::from_millis(1500)) };
        assert_eq!(serde_json::to_value(task).unwrap(), json!({"duration_seconds": 1.5}));
        assert_eq!(task.role(), Some(Role::TaskCompleted { duration: Some(Duration::from_millis(1500)) }));
        assert_eq!(serde_json::to_value(TaskCompleted { duration: None }).unwrap(), json!({}));
        assert_eq!(UserRegistration { source: "ads" }.role(), Some(Role::SignUp { source: "ads" }));
        assert_eq!(serde_json::to_value(UserRegistration { source: "ads" }).unwrap(), json!({"method": "ads"}));
        let (counter, labels) = JourneyStep { journey: "trial", step: "invited" }.counter().unwrap();
        assert_eq!((counter.name, labels), ("journey_steps_total", ["trial", "invited"]));
        let payment = Payment { failed: true, minor_units: 5, currency: "EUR" };
        assert_eq!(payment.role(), Some(Role::Payment { failed: true }));
        assert_eq!(serde_json::to_value(payment).unwrap()["result"], "failed");
    }
}
