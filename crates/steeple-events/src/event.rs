use std::time::Duration;

use serde::Serialize;

/// Something that a user did, or that happened to them: a name and properties.
///
/// Implement it with [`event!`](crate::event), which checks the names when the program is compiled. The properties are
/// the fields that `serde` writes: text, numbers, booleans; deeper structures reach only those sinks that take them.
///
/// # Examples
/// ```
/// use serde::Serialize;
/// use steeple_events::event;
///
/// /// Someone exported a report.
/// #[derive(Serialize)]
/// struct ReportExported<'a> {
///     format: &'a str,
///     rows: u64,
/// }
///
/// event!(ReportExported<'_>: "report_exported", new_relic = "ReportExport", mixpanel = "Report Exported");
/// ```
///
/// A name that a sink does not take does not compile:
/// ```compile_fail,E0080
/// #[derive(serde::Serialize)]
/// struct Failed;
///
/// steeple_events::event!(Failed: "error"); // GA4 keeps `error` for itself
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "derive `serde::Serialize` and write `steeple_events::event!({Self}: \"its_name\")`"
)]
pub trait Event: Serialize {
    /// The name in Steeple, in Elasticsearch, webhooks and NDJSON: `sign_up`.
    const NAME: &'static str;
    /// How much the event matters: the most important ones are dropped last when the store is full. Default: [`Class::Product`].
    const CLASS: Class = Class::Product;
    /// The event type in New Relic. Default: [`NAME`](Self::NAME).
    const NEW_RELIC: &'static str = Self::NAME;
    /// The name in GA4. Default: [`NAME`](Self::NAME).
    const GA4: &'static str = Self::NAME;
    /// The name in Mixpanel. Default: [`NAME`](Self::NAME).
    const MIXPANEL: &'static str = Self::NAME;

    /// What the event means to the business, which dashboard and alerts read. Default: nothing.
    fn role(&self) -> Option<Role<'_>> {
        None
    }

    /// The counter that the event increments, and its labels. Default: none besides that of its role.
    fn counter(&self) -> Option<(&'static Counter, Labels<'_>)> {
        None
    }
}

/// Values of a counter's labels, in the order of its label names. At most 2, so that a counter stays bounded.
pub type Labels<'a> = [&'a str; 2];

/// How much an event matters. When the store is full, the newest of the lowest class goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Class {
    /// A page was looked at.
    PageView = 0,
    /// A feature was used. The default.
    Product = 1,
    /// Someone registered or logged in.
    Identity = 2,
    /// Money moved.
    Revenue = 3,
}

impl Class {
    /// All of them, from the lowest to the highest.
    pub const ALL: [Self; 4] = [Self::PageView, Self::Product, Self::Identity, Self::Revenue];

    /// The class as a label value: `page_view`, `product`, `identity`, `revenue`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PageView => "page_view",
            Self::Product => "product",
            Self::Identity => "identity",
            Self::Revenue => "revenue",
        }
    }
}

/// What an event means to the business. An event of a team's own that takes a role is counted like the preset that has it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Role<'a> {
    /// A new user.
    SignUp {
        /// Where they came from: one of a few words.
        source: &'a str,
    },
    /// A user logged in.
    Login {
        /// How: `password`, `google`.
        method: &'a str,
    },
    /// A project, or whatever the product's central thing is, was created.
    ProjectCreated {
        /// Of which type: one of a few words.
        kind: &'a str,
    },
    /// A task was completed.
    TaskCompleted {
        /// How long after it was begun.
        duration: Option<Duration>,
    },
    /// A payment was tried.
    Payment {
        /// Whether it failed.
        failed: bool,
    },
    /// Money was earned.
    Revenue {
        /// In the currency's minor unit: cents. Negative: a refund.
        minor_units: i64,
        /// The currency's ISO 4217 code: `EUR`.
        currency: &'a str,
    },
    /// A user went from one step to the next.
    Conversion {
        /// The step before.
        from: &'a str,
        /// The step reached.
        to: &'a str,
    },
}

/// A counter that events increment.
#[derive(Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name in Prometheus: `features_used_total`.
    pub name: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// The names of its labels, at most 2. The counter bounds their values.
    pub labels: &'static [&'static str],
}

/// Counts events in the application's metrics. `steeple` implements it over steeple-metrics; without one, nothing counts.
pub trait Meter: Send + Sync + 'static {
    /// An event with this role was tracked.
    fn role(&self, role: Role<'_>);
    /// An event that increments this counter was tracked. `labels` has as many values as the counter has label names.
    fn count(&self, counter: &'static Counter, labels: &[&str]);
}

/// Makes a type an [`Event`](crate::Event) and checks its names when the program is compiled.
///
/// `event!(Type: "name")`, then in this order and each optional: `class = Revenue`, `new_relic = "…"`, `ga4 = "…"`,
/// `mixpanel = "…"`, `role = |event| Role::…`.
///
/// # Examples
/// ```
/// use serde::Serialize;
/// use steeple_events::{Role, event};
///
/// #[derive(Serialize)]
/// struct SeatBought {
///     cents: i64,
/// }
///
/// event!(SeatBought: "seat_bought", class = Revenue, role = |event| Role::Revenue {
///     minor_units: event.cents,
///     currency: "EUR",
/// });
/// ```
#[macro_export]
macro_rules! event {
    (
        $type:ty: $name:literal
        $(, class = $class:ident)?
        $(, new_relic = $new_relic:literal)?
        $(, ga4 = $ga4:literal)?
        $(, mixpanel = $mixpanel:literal)?
        $(, role = |$event:ident| $role:expr)?
        $(, counter = |$counted:ident| $counter:expr)?
        $(,)?
    ) => {
        impl $crate::Event for $type {
            const NAME: &'static str = $name;
            $(const CLASS: $crate::Class = $crate::Class::$class;)?
            $(const NEW_RELIC: &'static str = $new_relic;)?
            $(const GA4: &'static str = $ga4;)?
            $(const MIXPANEL: &'static str = $mixpanel;)?

            $(
                fn role(&self) -> Option<$crate::Role<'_>> {
                    let $event = self;
                    Some($role)
                }
            )?

            $(
                fn counter(&self) -> Option<(&'static $crate::Counter, $crate::Labels<'_>)> {
                    let $counted = self;
                    Some($counter)
                }
            )?
        }

        // Not generic, so that `cargo check` and editors show a bad name, and not only a build that uses it.
        const _: () = $crate::name::check(
            $name,
            $crate::event!(@or $($new_relic)?, $name),
            $crate::event!(@or $($ga4)?, $name),
            $crate::event!(@or $($mixpanel)?, $name),
        );
    };
    (@or $given:literal, $name:literal) => { $given };
    (@or , $name:literal) => { $name };
}
