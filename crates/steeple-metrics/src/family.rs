//! Families of the application's own: counters, gauges and histograms with any labels.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use steeple_core::{Exchange, TraceContext, clock};

use crate::{
    Buckets, BuildError, Metrics,
    core::Core,
    encode::{Encoder, Kind, Meta, Number, Source},
    folded::{Folded, Label},
    http::Scratch,
    indicator::Latency,
    layout::{Layout, Scale},
    series::{Exemplars, HistogramCounts, HistogramPlace, Labels, Name, OVERFLOW},
    shard::Cells,
    table::{Table, hash},
};

/// A family with labels of any name.
pub(crate) struct Family {
    meta: Meta,
    series: Table<Arc<Series>>,
    overflow: OnceLock<Arc<Series>>,
    layout: Option<Arc<Layout>>,
    folded: Arc<Folded>,
    #[cfg(feature = "otel")]
    otel: Option<opentelemetry::metrics::Histogram<f64>>,
}

struct Series {
    values: Box<[Name]>,
    labels: Labels,
    data: Data,
    #[cfg(feature = "otel")]
    otel: Option<crate::opentelemetry::Bound>,
}

enum Data {
    Counter(Cells),
    /// The bits of an `f64`.
    Gauge(AtomicU64),
    Histogram {
        cells: Cells,
        place: HistogramPlace,
        exemplars: Exemplars,
    },
}

impl Family {
    fn new(meta: Meta, layout: Option<Arc<Layout>>, core: &Core) -> Arc<Self> {
        #[cfg(feature = "otel")]
        let otel = core.otel.as_ref().zip(layout.as_ref()).map(|(otel, layout)| otel.histogram(&meta, layout));
        Arc::new(Self {
            #[cfg(feature = "otel")]
            otel,
            ..Self::of_calls(meta, layout, core, core.max_family_series)
        })
    }

    /// A family that is not recorded through the SDK: the SDK has other names for the same.
    pub(crate) fn of_calls(meta: Meta, layout: Option<Arc<Layout>>, core: &Core, room: usize) -> Self {
        Self {
            #[cfg(feature = "otel")]
            otel: None,
            meta,
            series: Table::new(room),
            overflow: OnceLock::new(),
            layout,
            folded: Arc::clone(&core.folded),
        }
    }

    /// The series of these label values; the overflow series without room for another one.
    fn series(&self, values: &[&str]) -> &Arc<Series> {
        // Values that were made series are at most so long: a longer one is not even hashed.
        if values.iter().all(|value| value.len() <= self.folded.max_value())
            && let Some(series) = self.known(values, hash(values.iter().copied()))
        {
            return series;
        }
        self.new_or_overflow(values)
    }

    fn known(&self, values: &[&str], hash: u64) -> Option<&Arc<Series>> {
        self.series.get(hash, |series| series.is_of(values))
    }

    #[cold]
    fn new_or_overflow(&self, values: &[&str]) -> &Arc<Series> {
        if !self.series.is_full() {
            let shown: Vec<_> = values.iter().map(|value| self.folded.shown(value)).collect();
            let values: Vec<&str> = shown.iter().map(|value| &**value).collect();
            let hash = hash(values.iter().copied());
            let owned = || values.iter().map(|value| Name::from((*value).to_owned())).collect();
            let made = self.series.get_or_insert(
                hash,
                |series| series.is_of(&values),
                |_| Some(Arc::new(self.new_series(owned()))),
            );
            if let Some(made) = made {
                return made;
            }
        }
        self.folded.fold(Label::Other);
        let others = || values.iter().map(|_| Name::from(OVERFLOW)).collect();
        self.overflow.get_or_init(|| Arc::new(self.new_series(others())))
    }

    fn new_series(&self, values: Box<[Name]>) -> Series {
        let labels = Labels::new(self.meta.labels.iter().cloned().zip(values.iter().cloned()));
        let data = match (&self.layout, self.meta.kind) {
            (Some(layout), _) => {
                let place = HistogramPlace::new(Arc::clone(layout), 0);
                Data::Histogram { cells: Cells::new(place.end()), place, exemplars: Exemplars::default() }
            }
            (None, Kind::Gauge) => Data::Gauge(AtomicU64::new(0)),
            (None, Kind::Counter | Kind::Histogram | Kind::Summary) => Data::Counter(Cells::new(1)),
        };
        Series {
            values,
            #[cfg(feature = "otel")]
            otel: self.otel.as_ref().map(|histogram| crate::opentelemetry::bind(histogram, &labels)),
            labels,
            data,
        }
    }

    pub(crate) fn add(&self, values: &[&str], by: u64) {
        self.series(values).add(by);
    }

    pub(crate) fn observe(&self, values: &[&str], duration: Duration) {
        self.series(values).record(clock::nanos(duration));
    }

    /// Records nanoseconds or bytes that belong to this trace.
    pub(crate) fn record_of(&self, values: &[&str], value: u64, trace: Option<&TraceContext>, failed: bool) {
        self.series(values).record_of(value, trace, failed);
    }
}

impl Family {
    /// The series of a family of counters.
    pub(crate) fn counters(&self, mut each: impl FnMut(&[Name], u64)) {
        for series in self.series.iter().chain(self.overflow.get()) {
            if let Data::Counter(cells) = &series.data {
                each(&series.values, cells.sum(0));
            }
        }
    }
}

/// Comparing two empty texts reads from where nothing is, which some processors take a hundred times as long for.
#[inline]
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

impl Series {
    fn is_of(&self, values: &[&str]) -> bool {
        self.values.iter().zip(values).all(|(a, b)| same(a, b))
    }

    fn add(&self, by: u64) {
        if let Data::Counter(cells) = &self.data {
            cells.add(0, by);
        }
    }

    fn gauge(&self, change: impl Fn(f64) -> f64) {
        if let Data::Gauge(bits) = &self.data {
            let changed = |bits| Some(change(f64::from_bits(bits)).to_bits());
            let _always_some = bits.fetch_update(Relaxed, Relaxed, changed);
        }
    }

    fn record(&self, value: u64) {
        let exchange = Exchange::current();
        let trace = exchange.as_ref().and_then(Exchange::trace).filter(|trace| trace.is_sampled());
        self.record_of(value, trace, false);
    }

    fn record_of(&self, value: u64, trace: Option<&TraceContext>, failed: bool) {
        if let Data::Histogram { cells, place, exemplars } = &self.data {
            let cell = place.record(cells.row(), value);
            #[cfg(feature = "otel")]
            if let Some(otel) = &self.otel {
                otel.record(crate::layout::to_f64(value) / place.layout.scale.per_unit());
            }
            if let Some(trace) = trace {
                exemplars.offer(&place.layout, cell, value, trace, failed);
            }
        }
    }
}

impl Source for Family {
    fn families(&self) -> Vec<Meta> {
        vec![self.meta.clone()]
    }

    fn write(&self, to: &mut dyn Encoder) {
        let mut scratch = Scratch::default();
        to.begin(&self.meta);
        for series in self.series.iter().chain(self.overflow.get()) {
            match &series.data {
                Data::Counter(cells) => to.value(&series.labels, Number::Whole(cells.sum(0))),
                Data::Gauge(bits) => to.value(&series.labels, Number::Float(f64::from_bits(bits.load(Relaxed)))),
                Data::Histogram { cells, place, exemplars } => {
                    scratch.write_one(&series.labels, place, cells, Some(exemplars), to);
                }
            }
        }
    }
}

/// Your own counter, with `N` labels. A cheap clone. Made by [`Metrics::counter`].
///
/// Label values should be few: past the cap, new ones are counted as `_OTHER`.
#[derive(Clone)]
pub struct CounterFamily<const N: usize>(Arc<Family>);

impl<const N: usize> CounterFamily<N> {
    /// Counts one.
    pub fn inc(&self, labels: [&str; N]) {
        self.0.add(&labels, 1);
    }

    /// Counts some.
    pub fn add(&self, labels: [&str; N], by: u64) {
        self.0.add(&labels, by);
    }

    /// One series, looked up once. It is shown from now on, with 0.
    pub fn with(&self, labels: [&str; N]) -> Counter {
        Counter(Arc::clone(self.0.series(&labels)))
    }
}

/// One series of a [`CounterFamily`]. A cheap clone.
#[derive(Clone)]
pub struct Counter(Arc<Series>);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// Counts some.
    pub fn add(&self, by: u64) {
        self.0.add(by);
    }
}

/// Your own gauge, with `N` labels. A cheap clone. Made by [`Metrics::gauge`].
#[derive(Clone)]
pub struct GaugeFamily<const N: usize>(pub(crate) Arc<Family>);

impl<const N: usize> GaugeFamily<N> {
    /// Sets it.
    pub fn set(&self, labels: [&str; N], value: f64) {
        self.0.series(&labels).gauge(|_| value);
    }

    /// Changes it by this much, up or down.
    pub fn add(&self, labels: [&str; N], by: f64) {
        self.0.series(&labels).gauge(|value| value + by);
    }

    /// Raises it by one until the guard is dropped.
    #[must_use = "dropping the guard lowers the gauge again"]
    pub fn hold(&self, labels: [&str; N]) -> GaugeGuard {
        let series = Arc::clone(self.0.series(&labels));
        series.gauge(|value| value + 1.0);
        GaugeGuard(series)
    }
}

/// Keeps a gauge one higher for as long as it lives.
pub struct GaugeGuard(Arc<Series>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.gauge(|value| value - 1.0);
    }
}

/// Your own histogram, with `N` labels. A cheap clone. Made by [`Metrics::duration_histogram`].
#[derive(Clone)]
pub struct DurationFamily<const N: usize>(Arc<Family>);

impl<const N: usize> DurationFamily<N> {
    /// Records a duration.
    pub fn observe(&self, labels: [&str; N], duration: Duration) {
        self.0.observe(&labels, duration);
    }

    /// One series, looked up once. It is shown from now on, with 0.
    pub fn with(&self, labels: [&str; N]) -> DurationSeries {
        DurationSeries(Arc::clone(self.0.series(&labels)))
    }

    /// Measures from now until the timer is dropped, whatever the reason.
    #[must_use = "dropping the timer records it"]
    pub fn start(&self, labels: [&str; N]) -> Timer {
        Timer { series: Arc::clone(self.0.series(&labels)), started: clock::now() }
    }

    /// The duration that this part of all recorded ones did not exceed: 0.95 for p95. As exact as
    /// [`Latency::quantile`](crate::indicator::Latency::quantile).
    pub fn quantile(&self, labels: [&str; N], q: f64) -> Option<Duration> {
        let Data::Histogram { cells, place, .. } = &self.0.series(&labels).data else { return None };
        let mut counts = HistogramCounts::default();
        place.read(cells, &mut counts);
        Latency::from((&place.layout, &counts)).quantile(q)
    }

    /// Measures a future, to its end or to where it is dropped.
    pub async fn time<F: Future>(&self, labels: [&str; N], future: F) -> F::Output {
        let _timer = self.start(labels);
        future.await
    }
}

/// One series of a [`DurationFamily`]. A cheap clone.
#[derive(Clone)]
pub struct DurationSeries(Arc<Series>);

impl DurationSeries {
    /// Records a duration.
    pub fn observe(&self, duration: Duration) {
        self.0.record(clock::nanos(duration));
    }
}

/// Records how long it lived. Cannot be forgotten: dropping it is how it records.
pub struct Timer {
    series: Arc<Series>,
    started: Instant,
}

impl Timer {
    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.started)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.series.record(clock::nanos(self.elapsed()));
    }
}

/// Your own histogram of sizes, with `N` labels. A cheap clone. Made by [`Metrics::size_histogram`].
#[derive(Clone)]
pub struct SizeFamily<const N: usize>(Arc<Family>);

impl<const N: usize> SizeFamily<N> {
    /// Records a number of bytes.
    pub fn observe(&self, labels: [&str; N], bytes: u64) {
        self.0.series(&labels).record(bytes);
    }
}

macro_rules! debug {
    ($($(#[$attribute:meta])* $name:ident $([$generic:ident])?),+) => {$(
        impl $(<const $generic: usize>)? fmt::Debug for $name $(<$generic>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

debug!(CounterFamily[N], Counter, GaugeFamily[N], GaugeGuard, DurationFamily[N], DurationSeries, SizeFamily[N], Timer);

impl Metrics {
    /// Your own counter. Its name ends in `_total`.
    ///
    /// # Errors
    /// [`BuildError::is_name`] for a name or label that Prometheus does not allow, [`BuildError::is_name_taken`] when the
    /// registry has it already.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// let exports = metrics.counter("exports_total", "Exports by format.", ["format"])?;
    /// exports.inc(["csv"]);
    /// let page = String::from_utf8_lossy(&metrics.render(None, None).body).into_owned();
    /// assert!(page.contains("exports_total{format=\"csv\"} 1\n"));
    /// # Ok(()) }
    /// ```
    pub fn counter<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<CounterFamily<N>, BuildError> {
        self.family(Kind::Counter, name, help, &labels, "_total", None).map(CounterFamily)
    }

    /// Your own gauge.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter).
    pub fn gauge<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<GaugeFamily<N>, BuildError> {
        self.family(Kind::Gauge, name, help, &labels, "", None).map(GaugeFamily)
    }

    /// Your own histogram of durations. Its name ends in `_seconds`.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter), and [`BuildError::is_bounds`] for unusable buckets.
    pub fn duration_histogram<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        buckets: &Buckets,
    ) -> Result<DurationFamily<N>, BuildError> {
        let layout = Layout::new(buckets, Scale::Seconds, self.0.core.native)?;
        self.family(Kind::Histogram, name, help, &labels, "_seconds", Some(layout)).map(DurationFamily)
    }

    /// Your own histogram of sizes. Its name ends in `_bytes`.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter), and [`BuildError::is_bounds`] for unusable buckets.
    pub fn size_histogram<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        buckets: &Buckets,
    ) -> Result<SizeFamily<N>, BuildError> {
        let layout = Layout::new(buckets, Scale::Bytes, self.0.core.native)?;
        self.family(Kind::Histogram, name, help, &labels, "_bytes", Some(layout)).map(SizeFamily)
    }

    fn family(
        &self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[&str],
        suffix: &str,
        layout: Option<Layout>,
    ) -> Result<Arc<Family>, BuildError> {
        let bad_label = labels.iter().find(|label| label.starts_with("__") || ["le", "quantile"].contains(*label));
        if !name.ends_with(suffix) {
            return Err(BuildError::name(name));
        }
        if let Some(label) = bad_label {
            return Err(BuildError::name(label));
        }
        let mut meta = Meta::new(kind, name.to_owned(), help.to_owned(), &[]);
        meta.labels = labels.iter().map(|label| Name::from((*label).to_owned())).collect();
        let family = self.new_family(meta, layout.map(Arc::new));
        self.add(Arc::clone(&family) as _)?;
        Ok(family)
    }

    /// A family that is not yet in the registry.
    pub(crate) fn new_family(&self, meta: Meta, layout: Option<Arc<Layout>>) -> Arc<Family> {
        Family::new(meta, layout, &self.0.core)
    }

    /// Adds families of our own. Where the team has one of that name, theirs stays and ours is not shown.
    pub(crate) fn add_or_yield(&self, what: &str, sources: &[Arc<dyn Source>]) {
        for source in sources {
            if self.add(Arc::clone(source)).is_err() {
                tracing::warn!(what, "the registry has metrics of the same name: those of steeple are not shown");
            }
        }
    }
}
