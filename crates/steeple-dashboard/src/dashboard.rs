use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use steeple_export::Sink;
use steeple_metrics::{
    Metrics,
    indicator::{History, Subscription},
};
use steeple_scrub::Scrubber;

#[cfg(feature = "axum")]
use crate::web::Hub;
use crate::{
    BuildError, Business, DashboardBuilder, Grafana, RealTime, RequestLists, Requests, SystemHealth,
    about::About,
    access::Gate,
    data::{Ledger, Watches},
    deploys::Deploys,
    frame::{Cursor, Frames},
    lock::lock,
    seams::Seams,
};

/// A page about a service, inside of the service. A cheap clone.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_dashboard::Dashboard;
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = Metrics::new()?;
/// let dashboard = Dashboard::builder().service("shop").version("1.8.2").build(&metrics)?;
/// let now = dashboard.real_time();
/// assert_eq!(now.in_flight.now, Some(0.0));
/// let today = dashboard.business(Duration::from_secs(86_400));
/// assert_eq!(today.new_users.value, None);
/// println!("{}", today.new_users.feed); // the code that would count them
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Dashboard(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) metrics: Metrics,
    pub(crate) history: History,
    pub(crate) gate: Gate,
    pub(crate) about: About,
    pub(crate) requests: Option<Requests>,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) trace_url: Option<String>,
    pub(crate) deploys: Deploys,
    pub(crate) seams: Seams,
    #[cfg(feature = "alerts")]
    pub(crate) alerts: Option<steeple_alerts::Alerts>,
    #[cfg(feature = "prometheus")]
    pub(crate) fleet: Option<Arc<crate::fleet::Fleet>>,
    /// Ends the questions about the past when the dashboard is dropped.
    #[cfg(feature = "prometheus")]
    _past: Option<steeple_export::Task>,
    pub(crate) watches: Watches,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) frames: Mutex<Frames>,
    #[cfg(feature = "axum")]
    pub(crate) hub: Hub,
    /// Ends the sampling when the dashboard is dropped.
    subscription: Mutex<Option<Subscription>>,
}

impl Dashboard {
    /// Options, all with a default.
    pub fn builder() -> DashboardBuilder {
        DashboardBuilder::default()
    }

    pub(crate) fn new(options: DashboardBuilder, metrics: &Metrics) -> Result<Self, BuildError> {
        let history = metrics.history();
        let watches = Watches::new(&history).map_err(|_full| {
            BuildError::setting("too many indicators are watched: 64 for alerts and dashboard together")
        })?;
        let mut about = options.about;
        about.started = history.clock().unix();
        if let Some(requests) = &options.requests {
            requests.begin();
        }
        #[cfg(feature = "prometheus")]
        let fleet = match options.prometheus {
            Some(prometheus) => {
                let prometheus = prometheus.of_service(&about.service);
                let connected = crate::fleet::Prometheus::connect(&prometheus)?;
                Some(Arc::new(crate::fleet::Fleet::new(prometheus, connected)))
            }
            None => None,
        };
        #[cfg(feature = "prometheus")]
        let past = match &fleet {
            Some(fleet) => {
                let filling = crate::fleet::backfill(Arc::clone(fleet), history.clone());
                Some(steeple_export::spawn(filling).map_err(|_error| BuildError::history())?)
            }
            None => None,
        };
        let deploys = Deploys::new(about.started, about.version.as_deref());
        if let Some(state) = &options.state {
            deploys.keep_in(state);
        }
        let clean = |text: &str| Scrubber::text(&options.scrubber, text).to_string();
        let settings = options.settings.iter().map(|(name, value)| (name.clone(), clean(value))).collect();
        let dashboard = Self(Arc::new(Inner {
            metrics: metrics.clone(),
            gate: Gate::new(options.access, &about.service, options.timing),
            about,
            requests: options.requests,
            sinks: options.sinks,
            settings,
            trace_url: options.trace_url,
            deploys,
            seams: options.seams,
            #[cfg(feature = "alerts")]
            alerts: options.alerts,
            #[cfg(feature = "prometheus")]
            fleet,
            #[cfg(feature = "prometheus")]
            _past: past,
            watches,
            ledger: Mutex::default(),
            frames: Mutex::default(),
            #[cfg(feature = "axum")]
            hub: Hub::new(options.timing.heartbeat),
            subscription: Mutex::new(None),
            history: history.clone(),
        }));
        dashboard.sample(history.clock().monotonic());
        let weak = Arc::downgrade(&dashboard.0);
        let subscription = history.subscribe(move |sampled| {
            if let Some(inner) = weak.upgrade() {
                Self(inner).sample(sampled.monotonic);
            }
        });
        *lock(&dashboard.0.subscription) = Some(subscription);
        history.start().map_err(|_error| BuildError::history())?;
        Ok(dashboard)
    }

    fn sample(&self, at: Duration) {
        lock(&self.0.ledger).sample(&self.0.metrics, at);
        if let Some(requests) = &self.0.requests {
            requests.forget(self.0.history.clock().unix());
        }
        #[cfg(feature = "axum")]
        self.0.hub.publish(self);
    }

    /// What the service does now.
    pub fn real_time(&self) -> RealTime {
        let mut now = self.0.watches.real_time(&self.0.metrics, &self.0.history);
        now.activity = self.requests().activity;
        now
    }

    /// What users did in this while, at most a day.
    pub fn business(&self, range: Duration) -> Business {
        let at = self.0.history.clock().monotonic();
        let range = range.min(Duration::from_secs(86_400));
        lock(&self.0.ledger).over(range, &self.0.metrics, at)
    }

    /// What the service uses of what it may use.
    pub fn system_health(&self) -> SystemHealth {
        let [cpu, throttled, cache] = self.0.watches.levels();
        SystemHealth::read(&self.0.metrics, cpu, throttled, cache)
    }

    /// The slowest and the latest failed requests. Empty without [`Requests`].
    pub fn requests(&self) -> RequestLists {
        let mut lists = self.0.requests.as_ref().map(Requests::lists).unwrap_or_default();
        if let Some(traces) = &self.0.seams.traces {
            // Tail sampling keeps a trace after its request has ended.
            for request in lists.slow.iter_mut().chain(&mut lists.failed) {
                request.find_trace(|id| traces.has(id));
            }
        }
        lists
    }

    /// The same panels as a dashboard for Grafana.
    pub fn grafana(&self) -> Grafana {
        Grafana::new(self.0.about.service.clone())
    }

    /// Rules for Prometheus: those of the alerts, and those from the objectives that routes have.
    ///
    /// # Errors
    /// As [`steeple_metrics::Rules::render`].
    pub fn rules(&self) -> Result<String, steeple_metrics::BuildError> {
        const NONE: &str = "groups: []\n";
        let objectives = self.0.metrics.rules();
        let objectives = if objectives.is_empty() { NONE.to_owned() } else { objectives.render()? };
        #[cfg(feature = "alerts")]
        if let Some(alerts) = &self.0.alerts {
            let style = steeple_metrics::indicator::Promql::new();
            let rules = alerts.definitions().to_prometheus(&style);
            return Ok(match (rules.as_str(), objectives.strip_prefix("groups:\n")) {
                (NONE, _) => objectives,
                (_, Some(groups)) => rules + groups,
                (_, None) => rules,
            });
        }
        Ok(objectives)
    }

    /// What the page shows, as JSON: the whole of it, or what came after an earlier frame, whose `cursor` this is.
    pub fn frame(&self, since: Option<&str>) -> Bytes {
        let since = since.and_then(|cursor| Cursor::parse(cursor, &self.0.about));
        lock(&self.0.frames).json(self, since)
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("about", &self.0.about).finish_non_exhaustive()
    }
}
