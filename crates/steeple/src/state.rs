//! What survives a deploy: one file per instance in `STEEPLE_STATE_DIR`.

use std::{
    error::Error as _,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_metrics::{
    Metrics,
    state::{State, StateGuard, StateOptions},
};

use crate::{ConfigError, env::Service, own_metrics::OwnMetrics};

/// How often it is looked, at the end, whether the state is saved.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The variable of the directory.
pub(crate) const DIRECTORY: &str = "STEEPLE_STATE_DIR";

/// Opens the directory, and keeps in it what the metrics know of the past.
pub(crate) fn open(directory: PathBuf, service: &Service, metrics: &Metrics) -> Result<State, ConfigError> {
    let shown = directory.display().to_string();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let options = StateOptions::new(directory, text(&service.name), text(&service.environment));
    let state = State::open(options.version(text(&service.version))).map_err(|error| {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        ConfigError::new(Some(DIRECTORY), &format!("{DIRECTORY}: {error} {shown:?}{source}"))
    })?;
    metrics.history().keep_in(&state);
    metrics.today().keep_in(&state);
    Ok(state)
}

/// A state that is saved now and then, and at the end.
pub(crate) struct Kept {
    state: Arc<State>,
    /// `None`: it was saved for the last time.
    guard: Mutex<Option<StateGuard>>,
}

impl Kept {
    pub(crate) fn start(state: State, interval: Duration, own: &mut OwnMetrics) -> Result<Self, ConfigError> {
        let guard = state.spawn(interval).map_err(|error| ConfigError::part("the state", &error))?;
        let state = Arc::new(state);
        // The registry may outlive the service, and the state is its instance's for as long as it lives.
        let counted = Arc::downgrade(&state);
        own.add("steeple_state_sections_dropped_total", "Sections that were left out of the saved state.", move || {
            counted.upgrade().map_or(0, |state| state.dropped())
        });
        Ok(Self { state, guard: Mutex::new(Some(guard)) })
    }

    /// Saves what has changed. Returns whether it was saved in time.
    pub(crate) fn save_until(&self, deadline: Instant) -> bool {
        let (saved, is_saved) = mpsc::sync_channel(1);
        let state = Arc::clone(&self.state);
        let save = move || {
            let _too_late = saved.send(state.save().is_ok());
        };
        // A disk that hangs holds up this thread alone.
        let _no_thread = thread::Builder::new().name("steeple-flush".to_owned()).spawn(save);
        is_saved.recv_timeout(deadline.saturating_duration_since(clock::now())).unwrap_or(false)
    }

    /// Saves for the last time. Returns whether it was saved in time.
    pub(crate) fn close_until(&self, deadline: Instant) -> bool {
        let Some(guard) = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        guard.begin_shutdown();
        while !guard.is_finished() {
            if clock::now() >= deadline {
                // It hangs: a detached thread waits for it.
                let _no_thread = thread::Builder::new().name("steeple-flush".to_owned()).spawn(move || drop(guard));
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
