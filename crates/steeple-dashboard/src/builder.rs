use std::{fmt, sync::Arc};

use steeple_export::Sink;
use steeple_metrics::{Metrics, state::State};
use steeple_scrub::Scrubber;

use crate::{
    Access, BuildError, Dashboard, LogControl, Outbox, Requests, TimingOptions, TraceSource, about::About, seams::Seams,
};

/// Options for [`Dashboard`], all with a default.
#[derive(Clone, Default)]
#[must_use = "options do nothing until a dashboard is built with them"]
pub struct DashboardBuilder {
    pub(crate) access: Access,
    pub(crate) about: About,
    pub(crate) requests: Option<Requests>,
    pub(crate) scrubber: Scrubber,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) trace_url: Option<String>,
    pub(crate) timing: TimingOptions,
    pub(crate) state: Option<State>,
    pub(crate) seams: Seams,
    #[cfg(feature = "alerts")]
    pub(crate) alerts: Option<steeple_alerts::Alerts>,
    #[cfg(feature = "prometheus")]
    pub(crate) prometheus: Option<crate::PrometheusOptions>,
}

impl DashboardBuilder {
    /// Who may see it. Default: [`Access::local`].
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Who may see it, in two words: [`Access::describe`].
    pub fn who(&self) -> &'static str {
        self.access.describe()
    }

    /// The service's name, in the title. Default: `service`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.about.service = name.into();
        self
    }

    /// The service's version: the line in the charts where it began.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.about.version = Some(version.into());
        self
    }

    /// Where the service runs: `production`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.about.environment = Some(environment.into());
        self
    }

    /// Which instance of the service this is. Default: eight random hex digits for each process.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.about.instance = instance.into();
        self
    }

    /// The lists of slow and failed requests, which observe in the service's layer. Default: none, and the page shows how to add them.
    pub fn requests(mut self, requests: Requests) -> Self {
        self.requests = Some(requests);
        self
    }

    /// What counts as a secret. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Adds sinks: their queues and losses are on the page.
    pub fn sinks(mut self, sinks: impl IntoIterator<Item = Arc<dyn Sink>>) -> Self {
        self.sinks.extend(sinks);
        self
    }

    /// Adds a setting that is in force, for the list on the page. The value must not be a secret; what looks like one is
    /// redacted.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Where a trace is looked at: `https://tempo.example/trace/{trace_id}`. Default: nowhere, ids are shown to be copied.
    pub fn trace_url(mut self, template: impl Into<String>) -> Self {
        self.trace_url = Some(template.into());
        self
    }

    /// Keeps when the service was deployed with a state that survives a deploy: lines in the charts. Default: this process alone.
    pub fn keep_in(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Where the spans of traces are found: they are drawn with their request. Default: nowhere.
    pub fn traces(mut self, source: impl TraceSource + 'static) -> Self {
        self.seams.traces = Some(Arc::new(source));
        self
    }

    /// What waits for the sinks of events, and their dead letters. Called while somebody looks. Default: nothing is shown.
    pub fn outbox<F>(mut self, read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outbox> + Send + 'static,
    {
        self.seams.outbox = Some(Arc::new(move || Box::pin(read())));
        self
    }

    /// Lets who may act on the page change for some minutes how much is logged. Default: it cannot be changed there.
    pub fn log_control(mut self, control: impl LogControl + 'static) -> Self {
        self.seams.log = Some(Arc::new(control));
        self
    }

    /// The alerts that are shown, acknowledged and silenced, and the error groups. Default: none.
    #[cfg(feature = "alerts")]
    pub fn alerts(mut self, alerts: steeple_alerts::Alerts) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// How long sessions, lock-outs and silent streams last. Default: [`TimingOptions::default`].
    pub fn timing(mut self, timing: TimingOptions) -> Self {
        self.timing = timing;
        self
    }

    /// Shows all instances, as this Prometheus knows them, and fills the past of the page from it. Default: this instance alone.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(mut self, options: crate::PrometheusOptions) -> Self {
        self.prometheus = Some(options);
        self
    }

    /// Whether [`prometheus`](Self::prometheus) was called.
    #[cfg(feature = "prometheus")]
    pub fn has_prometheus(&self) -> bool {
        self.prometheus.is_some()
    }

    /// Changes how Prometheus is reached, if it is set: proxies, certificates, plain HTTP.
    #[cfg(feature = "prometheus")]
    pub fn http(mut self, change: impl FnOnce(steeple_export::ClientBuilder) -> steeple_export::ClientBuilder) -> Self {
        self.prometheus = self.prometheus.map(|prometheus| prometheus.http(change));
        self
    }

    /// Checks the options without a dashboard.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn check(&self) -> Result<(), BuildError> {
        let is_url = |url: &String| {
            ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && url.contains("{trace_id}")
        };
        #[cfg(feature = "prometheus")]
        if let Some(prometheus) = &self.prometheus {
            crate::fleet::Prometheus::connect(&prometheus.clone().of_service(&self.about.service))?;
        }
        match &self.trace_url {
            Some(url) if !is_url(url) => {
                Err(BuildError::setting("the URL of a trace begins with http:// or https:// and has {trace_id} in it"))
            }
            _ => Ok(()),
        }
    }

    /// Builds the dashboard of these metrics. From here on their history is kept.
    ///
    /// # Errors
    /// [`BuildError::is_setting`] for an invalid setting. Also when the system has no room for the history's thread.
    pub fn build(self, metrics: &Metrics) -> Result<Dashboard, BuildError> {
        self.check()?;
        Dashboard::new(self, metrics)
    }
}

impl fmt::Debug for DashboardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardBuilder")
            .field("access", &self.access)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
