use std::sync::Arc;

use tokio::runtime::Handle;

use crate::{
    Metrics,
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// The metrics of a Tokio runtime.
struct Runtime(Handle);

fn families() -> [Meta; 5] {
    [
        Meta::new(Kind::Gauge, "tokio_workers", "Worker threads of the runtime.", &[]),
        Meta::new(Kind::Gauge, "tokio_tasks_alive", "Tasks that have not ended.", &[]),
        Meta::new(Kind::Gauge, "tokio_global_queue_depth", "Tasks that wait in the global queue.", &[]),
        Meta::new(Kind::Counter, "tokio_worker_busy_seconds_total", "Time that a worker was busy.", &["worker"]),
        Meta::new(Kind::Counter, "tokio_worker_parks_total", "Times that a worker went to sleep.", &["worker"]),
    ]
}

impl Source for Runtime {
    fn families(&self) -> Vec<Meta> {
        families().into()
    }

    fn write(&self, to: &mut dyn Encoder) {
        let metrics = self.0.metrics();
        let [workers, tasks, queue, busy, parks] = families();
        let none = Labels::new([]);
        for (meta, value) in [
            (workers, metrics.num_workers()),
            (tasks, metrics.num_alive_tasks()),
            (queue, metrics.global_queue_depth()),
        ] {
            to.begin(&meta);
            to.value(&none, Number::Whole(value as u64));
        }
        let labels: Vec<_> = (0..metrics.num_workers())
            .map(|worker| Labels::new([("worker".into(), worker.to_string().into())]))
            .collect();
        to.begin(&busy);
        for (worker, labels) in labels.iter().enumerate() {
            to.value(labels, Number::Float(metrics.worker_total_busy_duration(worker).as_secs_f64()));
        }
        to.begin(&parks);
        for (worker, labels) in labels.iter().enumerate() {
            to.value(labels, Number::Whole(metrics.worker_park_count(worker)));
        }
    }
}

impl Metrics {
    /// Shows the metrics of a Tokio runtime: its workers, tasks and queue. One runtime; the first stays.
    pub fn watch_runtime(&self, runtime: &Handle) {
        self.0.runtime.get_or_init(|| {
            self.add_or_yield("tokio runtime", &[Arc::new(Runtime(runtime.clone())) as _]);
        });
    }
}
