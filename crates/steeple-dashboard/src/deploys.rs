//! When the service began, as far back as its state directory knows.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use steeple_core::text::cut;
use steeple_metrics::state::State;

use crate::lock::lock;

/// Most starts that are kept.
const MAX: usize = 32;
/// Starts before that are forgotten: the page shows a day.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Longest version, in bytes.
const MAX_VERSION: usize = 64;

/// A process of the service began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Milliseconds since the Unix epoch.
    t: u64,
    version: Option<String>,
}

/// A line in the charts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    t: u64,
    label: String,
}

/// Oldest first; the last one is this process.
#[derive(Clone, Debug)]
pub(crate) struct Deploys(Arc<Mutex<Vec<Start>>>);

impl Deploys {
    pub(crate) fn new(started: Duration, version: Option<&str>) -> Self {
        let version = version.map(|version| cut(version, MAX_VERSION).to_owned());
        Self(Arc::new(Mutex::new(vec![Start { t: millis(started), version }])))
    }

    /// Saves the starts with a state that survives a deploy, and loads those of the instance that was adopted.
    pub(crate) fn keep_in(&self, state: &State) {
        let (saving, loading) = (self.clone(), self.clone());
        state.section(
            "deploys",
            move || serde_json::to_vec(&*lock(&saving.0)).unwrap_or_default(),
            move |_, saved| loading.restore(saved),
        );
    }

    fn restore(&self, saved: &[u8]) {
        let Ok(mut saved) = serde_json::from_slice::<Vec<Start>>(saved) else {
            tracing::warn!(target: "steeple::dashboard", "the saved deploys are of another version: they begin anew");
            return;
        };
        let mut starts = lock(&self.0);
        let own = starts.last().map_or(u64::MAX, |start| start.t);
        saved.retain(|start| start.t < own && own.saturating_sub(start.t) <= millis(KEPT));
        saved.append(&mut starts);
        let surplus = saved.len().saturating_sub(MAX);
        saved.drain(..surplus);
        *starts = saved;
    }

    pub(crate) fn marks(&self) -> Vec<Mark> {
        let starts = lock(&self.0);
        let mark = |start: &Start| Mark {
            t: start.t,
            label: start.version.as_ref().map_or_else(|| "start".to_owned(), |version| format!("deploy {version}")),
        };
        starts.iter().map(mark).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_deploys_are_known_and_bounded() {
        let day = Duration::from_secs(86_400);
        let mut saved = Vec::new();
        for deploy in 0..50_u32 {
            let next = Deploys::new(day * 100 + day / 10 * deploy, Some(&format!("1.{deploy}")));
            next.restore(&saved);
            saved = serde_json::to_vec(&*lock(&next.0)).unwrap();
        }
        let last = Deploys::new(day * 105, None);
        last.restore(&saved);
        let labels: Vec<String> = last.marks().into_iter().map(|mark| mark.label).collect();
        assert_eq!(labels.len(), MAX);
        assert_eq!(labels[MAX - 2..], ["deploy 1.49", "start"]);
        last.restore(b"nonsense");
        assert_eq!(last.marks().len(), MAX);
        let later = Deploys::new(day * 200, None);
        later.restore(&saved);
        assert_eq!(later.marks().len(), 1, "marks older than a week are forgotten");
    }
}
