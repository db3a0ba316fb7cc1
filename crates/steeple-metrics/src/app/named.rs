//! Metrics by names that are known at run time alone, and all metrics as a flat map.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock},
};

use crate::{
    BuildError, Metrics,
    family::GaugeFamily,
    folded::{Label, MAX_VALUE},
};

/// Most names that [`Metrics::record_metric`] takes.
const MAX_NAMES: usize = 256;

/// The gauges that were made by name.
#[derive(Default)]
pub(crate) struct Named(RwLock<HashMap<Box<str>, GaugeFamily<0>>>);

impl Metrics {
    /// Sets a gauge by its name, which may be known at run time alone. The first call makes it.
    ///
    /// At most 256 names, each of at most 128 bytes. A value under one more name is dropped and counted in
    /// `steeple_metrics_label_overflow_total{label="other"}`. Where names and labels are known when the code is written,
    /// [`gauge`](Self::gauge) is better: it has labels and a help text, and costs no lookup.
    ///
    /// # Errors
    /// [`BuildError::is_name`] for a name that Prometheus does not allow, [`BuildError::is_name_taken`] when the registry has it
    /// already, [`BuildError::is_too_many`] for the 257th.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// for (name, value) in [("queue_depth", 17.0), ("queue_depth", 12.0)] {
    ///     metrics.record_metric(name, value)?;
    /// }
    /// assert_eq!(metrics.values()["queue_depth"], 12.0);
    /// assert!(metrics.record_metric("queue depth", 1.0).unwrap_err().is_name());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "recordMetric")]
    pub fn record_metric(&self, name: &str, value: f64) -> Result<(), BuildError> {
        let Named(gauges) = &self.0.named;
        if let Some(gauge) = gauges.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            gauge.set([], value);
            return Ok(());
        }
        if name.len() > MAX_VALUE {
            return Err(BuildError::name(steeple_core::text::cut(name, MAX_VALUE)));
        }
        let mut gauges = gauges.write().unwrap_or_else(PoisonError::into_inner);
        if !gauges.contains_key(name) && gauges.len() >= MAX_NAMES {
            self.0.core.folded.fold(Label::Other);
            return Err(BuildError::too_many());
        }
        let gauge = match gauges.get(name) {
            Some(gauge) => gauge.clone(),
            None => self.gauge(name, "A metric that the application records by name.", [])?,
        };
        gauge.set([], value);
        gauges.insert(name.into(), gauge);
        Ok(())
    }

    /// All metrics as a flat map: each series by its name and labels as the page writes them. Of a histogram its `_count` and its
    /// `_sum`. Runs the collectors of the application's registries.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// metrics.counter("exports_total", "Exports by format.", ["format"])?.inc(["csv"]);
    /// assert_eq!(metrics.values()[r#"exports_total{format="csv"}"#], 1.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getMetrics")]
    pub fn values(&self) -> BTreeMap<String, f64> {
        let page = self.render(None, None).body;
        let page = String::from_utf8_lossy(&page);
        let series = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split_once('{').map_or(series, |(name, _)| name);
            (!name.ends_with("_bucket")).then_some((series.to_owned(), value.parse().ok()?))
        });
        series.collect()
    }
}
