use serde::Serialize;
use steeple_metrics::{Metrics, indicator::Value};

use super::num::{count, known};

/// What the service uses of what it may use. Ratios are from 0 to 1; `None` is what nothing measures here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemHealth {
    /// Processors in use, of those that the container or the machine may use.
    pub cpu: Option<Level>,
    /// The part of the scheduling periods in which the container had used up its processor limit.
    #[serde(serialize_with = "known")]
    pub throttled: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<Level>,
    /// Bytes of the disk.
    pub disk: Option<Level>,
    /// Database connections. `None` unless `Metrics::watch_connections` was called.
    pub connections: Option<Level>,
    /// The part of the lookups in caches that found something, in the last 5 minutes. `None` without lookups.
    #[serde(serialize_with = "known")]
    pub cache_hit_ratio: Option<f64>,
    /// Whether the limits are those of a container, and not of the machine.
    pub is_limited: bool,
}

/// A used amount, and the available one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Level {
    /// In use.
    pub used: f64,
    /// What may be used.
    pub limit: f64,
    /// The part that is used.
    pub ratio: f64,
}

impl Level {
    fn new(used: f64, limit: f64) -> Option<Self> {
        (limit > 0.0).then(|| Self { used, limit, ratio: used / limit })
    }
}

impl SystemHealth {
    /// `cpu`, `throttled` and `cache` are over a window: they cannot be read at one moment.
    pub(crate) fn read(metrics: &Metrics, cpu: Value, throttled: Value, cache: Value) -> Self {
        let resources = metrics.resources();
        let memory =
            resources.memory.and_then(|memory| Level::new(count(memory.used_bytes), count(memory.limit_bytes)));
        Self {
            cpu: resources.cpu.zip(cpu.value).and_then(|(limit, ratio)| {
                let limit = limit.limit_cores;
                Level::new(ratio * limit, limit)
            }),
            throttled: throttled.value,
            memory,
            disk: resources.disk.and_then(|disk| Level::new(count(disk.used_bytes), count(disk.size_bytes))),
            connections: metrics.connections().and_then(|pool| Level::new(f64::from(pool.used), f64::from(pool.max))),
            cache_hit_ratio: cache.value,
            is_limited: resources.is_limited,
        }
    }
}
