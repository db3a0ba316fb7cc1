//! What survives a deploy: named sections of bytes, which those who know them save and load, in one file per instance.
//!
//! - The file is versioned and checksummed, at most 4 MiB, and replaced by an atomic rename. A section that finds no room
//!   is left out, counted and logged.
//! - The directory is made with mode 0700, files with 0600.
//! - Up to 64 instances of one service in one environment share a directory; each has a lock for as long as it lives,
//!   which the system takes back however the process ends.
//! - At the start, an instance adopts the file that was saved last of those whose instance is gone. Where deploys overlap,
//!   that instance still runs; so an instance that has adopted nothing looks again for two minutes.
//! - Nothing of this happens on a request's path: a thread saves, or the caller of [`State::save`].
//!
//! # Examples
//! ```
//! use steeple_metrics::{Metrics, state::{State, StateOptions}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let metrics = Metrics::new()?;
//! let state = State::open(StateOptions::new(directory.path(), "shop", "production").version("1.8.2"))?;
//! metrics.history().keep_in(&state);
//! state.save()?; // Or `state.spawn(Duration::from_secs(60))`, which saves every minute and at the end.
//! # Ok(()) }
//! ```

mod format;
mod slot;

use std::{
    error::Error,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use steeple_core::clock;

use self::{
    format::{Contents, Header},
    slot::{Directory, Slot},
};

/// Where state is kept, and whose it is.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a state is opened with them"]
pub struct StateOptions {
    directory: PathBuf,
    service: String,
    environment: String,
    version: String,
    adopt_within: Duration,
    adopt_interval: Duration,
}

impl StateOptions {
    /// A directory, and whose state it is: what another service, or the same in another environment, has left there is
    /// never adopted.
    pub fn new(directory: impl Into<PathBuf>, service: impl Into<String>, environment: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            service: service.into(),
            environment: environment.into(),
            version: String::new(),
            adopt_within: Duration::from_secs(120),
            adopt_interval: Duration::from_secs(1),
        }
    }

    /// The version of the service, which its successor will hear of. Default: none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// For how long a predecessor that still runs is waited for. Default: 2 minutes.
    pub fn adopt_within(mut self, time: Duration) -> Self {
        self.adopt_within = time;
        self
    }

    /// How often it is looked whether a predecessor that was waited for has ended. Default: once a second. At least 1 ms.
    pub fn adopt_interval(mut self, interval: Duration) -> Self {
        self.adopt_interval = interval.max(Duration::from_millis(1));
        self
    }
}

/// State could not be kept.
#[derive(Debug)]
pub struct StateError(ErrorKind);

#[derive(Debug)]
enum ErrorKind {
    Directory(io::Error),
    Full,
    Save(io::Error),
}

impl StateError {
    /// Whether the directory cannot be used: it cannot be made, written to or locked in.
    pub fn is_directory(&self) -> bool {
        matches!(self.0, ErrorKind::Directory(_))
    }

    /// Whether 64 instances share the directory already.
    pub fn is_full(&self) -> bool {
        matches!(self.0, ErrorKind::Full)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ErrorKind::Directory(_) => f.write_str("cannot use the state directory"),
            ErrorKind::Full => f.write_str("64 instances share the state directory already"),
            ErrorKind::Save(_) => f.write_str("could not save the state"),
        }
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            ErrorKind::Directory(error) | ErrorKind::Save(error) => Some(error),
            ErrorKind::Full => None,
        }
    }
}

/// The instance whose state was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The version that it was of. Another one than ours: this is a deploy.
    pub version: String,
    /// When it saved its state last, since the Unix epoch.
    pub saved_unix: Duration,
}

/// State that survives a deploy. A cheap clone.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    directory: Directory,
    slot: Slot,
    version: String,
    adopt_until: Instant,
    adopt_interval: Duration,
    /// Another instance held a state when this one was opened.
    has_others: bool,
    /// Every section has loaded the state that was adopted later.
    is_loaded: AtomicBool,
    inner: Mutex<Inner>,
    dropped: AtomicU64,
    /// Held while a file is written.
    saving: Mutex<()>,
    /// Set to end the thread.
    stop: (Mutex<bool>, Condvar),
}

#[derive(Default)]
struct Inner {
    sections: Vec<Section>,
    adopted: Option<(Adopted, Arc<Contents>)>,
}

#[derive(Clone)]
struct Section {
    name: String,
    save: Arc<Save>,
    load: Arc<Load>,
}

type Save = dyn Fn() -> Vec<u8> + Send + Sync;
type Load = dyn Fn(&Adopted, &[u8]) + Send + Sync;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Opens the directory, takes a place in it, and adopts the newest state whose instance is gone.
    ///
    /// # Errors
    /// [`StateError::is_directory`] when the directory cannot be made, written to or locked in; [`StateError::is_full`] when
    /// 64 instances share it.
    pub fn open(options: StateOptions) -> Result<Self, StateError> {
        let StateOptions { directory, service, environment, version, adopt_within, adopt_interval } = options;
        let failed = |error| StateError(ErrorKind::Directory(error));
        let directory = Directory::open(&directory, &service, &environment).map_err(failed)?;
        let (slot, adopted) = match directory.newest_orphan(None).map_err(failed)? {
            Some(orphan) => (orphan.slot, Some(adopted(orphan.contents))),
            None => (directory.free().map_err(failed)?.ok_or(StateError(ErrorKind::Full))?, None),
        };
        let has_others = adopted.is_none() && directory.has_others(&slot);
        let now = clock::now();
        let state = Self(Arc::new(Shared {
            has_others,
            is_loaded: AtomicBool::new(false),
            directory,
            slot,
            version,
            adopt_until: now.checked_add(adopt_within).unwrap_or(now),
            adopt_interval,
            inner: Mutex::new(Inner { sections: Vec::new(), adopted }),
            dropped: AtomicU64::new(0),
            saving: Mutex::new(()),
            stop: (Mutex::new(false), Condvar::new()),
        }));
        // So that a directory that cannot be written to is known now, and the next instance finds this service's name.
        if state.adopted().is_none() {
            state.save()?;
        }
        Ok(state)
    }

    /// Adds a section. `save` makes its bytes, at each save. `load` gets those of the instance whose state was adopted: now, or
    /// when one is adopted, and never twice. Neither may block for long; panics of them are caught, and cost the section.
    /// Another section of the same name is replaced.
    pub fn section<S, L>(&self, name: &str, save: S, load: L)
    where
        S: Fn() -> Vec<u8> + Send + Sync + 'static,
        L: Fn(&Adopted, &[u8]) + Send + Sync + 'static,
    {
        let section = Section { name: name.to_owned(), save: Arc::new(save), load: Arc::new(load) };
        let adopted = {
            let mut inner = lock(&self.0.inner);
            inner.sections.retain(|other| other.name != section.name);
            inner.sections.push(section.clone());
            inner.adopted.clone()
        };
        if let Some((adopted, contents)) = adopted {
            section.load(&adopted, &contents);
        }
    }

    /// The instance whose state was adopted. `None`: there was none, or it still runs.
    pub fn adopted(&self) -> Option<Adopted> {
        lock(&self.0.inner).adopted.as_ref().map(|(adopted, _)| adopted.clone())
    }

    /// Whether a predecessor still runs whose state may be adopted yet: what this instance knows of the past is not complete.
    /// For two minutes at most, and only where the thread that adopts runs: see [`spawn`](Self::spawn).
    pub fn awaits_predecessor(&self) -> bool {
        let shared = &self.0;
        shared.has_others
            && !shared.is_loaded.load(Acquire)
            && (self.adopted().is_some() || clock::now() < shared.adopt_until)
    }

    /// Sections that were not written to a file, because there was no room or their function panicked.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Saves all sections now.
    ///
    /// # Errors
    /// When the file cannot be written. The one before is still there.
    pub fn save(&self) -> Result<(), StateError> {
        let _saving = lock(&self.0.saving);
        let sections = lock(&self.0.inner).sections.clone();
        let mut saved = Vec::with_capacity(sections.len());
        for section in sections {
            match catch_unwind(AssertUnwindSafe(|| (section.save)())) {
                Ok(bytes) => saved.push((section.name, bytes)),
                Err(_panic) => self.leave_out(&section.name, "it panicked"),
            }
        }
        let header = Header {
            service: self.0.directory.service().to_owned(),
            environment: self.0.directory.environment().to_owned(),
            version: self.0.version.clone(),
            saved: clock::unix_now(),
        };
        let contents = Contents { header, sections: saved };
        let (file, dropped) = contents.encode();
        for name in dropped {
            self.leave_out(name, "it found no room");
        }
        self.0.slot.save(&file).map_err(|error| StateError(ErrorKind::Save(error)))
    }

    fn leave_out(&self, section: &str, why: &str) {
        self.0.dropped.fetch_add(1, Relaxed);
        tracing::warn!(section, why, "a section was left out of the saved state");
    }

    /// Looks again for a predecessor that is gone now, and adopts its state. Returns whether there is one from now on.
    fn adopt_late(&self) -> bool {
        let Ok(Some(orphan)) = self.0.directory.newest_orphan(Some(&self.0.slot)) else { return false };
        let (found, contents) = adopted(orphan.contents);
        let sections = {
            let mut inner = lock(&self.0.inner);
            inner.adopted = Some((found.clone(), Arc::clone(&contents)));
            inner.sections.clone()
        };
        for section in sections {
            section.load(&found, &contents);
        }
        self.0.is_loaded.store(true, Release);
        // It is removed only when all that was in it is in ours.
        if self.save().is_ok()
            && let Err(error) = orphan.slot.clear()
        {
            tracing::warn!(%error, "could not remove a state that was adopted");
        }
        true
    }

    /// Starts a thread, `steeple-state`, that saves now and then, and once more when what it returns is dropped.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn spawn(&self, every: Duration) -> io::Result<StateGuard> {
        let state = self.clone();
        *lock(&self.0.stop.0) = false;
        let thread = std::thread::Builder::new().name("steeple-state".to_owned()).spawn(move || state.run(every))?;
        Ok(StateGuard { state: self.clone(), thread: Some(thread) })
    }

    fn run(&self, every: Duration) {
        let mut next = clock::now().checked_add(every);
        let mut is_failing = false;
        loop {
            let waits_for_predecessor = self.adopted().is_none() && clock::now() < self.0.adopt_until;
            let until_next = next.map_or(every, |next| next.saturating_duration_since(clock::now()));
            let nap = if waits_for_predecessor { until_next.min(self.0.adopt_interval) } else { until_next };
            let stopped = {
                let stop = lock(&self.0.stop.0);
                let (stop, _) =
                    self.0.stop.1.wait_timeout_while(stop, nap, |stop| !*stop).unwrap_or_else(PoisonError::into_inner);
                *stop
            };
            if stopped {
                break;
            }
            if waits_for_predecessor {
                self.adopt_late();
            }
            if next.is_some_and(|next| clock::now() >= next) {
                self.save_or_log(&mut is_failing);
                next = clock::now().checked_add(every);
            }
        }
        self.save_or_log(&mut is_failing);
    }

    /// Logged once, until it works again.
    fn save_or_log(&self, is_failing: &mut bool) {
        let result = self.save();
        if let Err(error) = &result
            && !*is_failing
        {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, source, "the state that survives a deploy is not being saved");
        }
        *is_failing = result.is_err();
    }
}

fn adopted(contents: Contents) -> (Adopted, Arc<Contents>) {
    let adopted = Adopted { version: contents.header.version.clone(), saved_unix: contents.header.saved };
    (adopted, Arc::new(contents))
}

impl Section {
    fn load(&self, adopted: &Adopted, contents: &Contents) {
        let Some(bytes) = contents.section(&self.name) else { return };
        if catch_unwind(AssertUnwindSafe(|| (self.load)(adopted, bytes))).is_err() {
            tracing::warn!(section = self.name, "a section of the saved state could not be loaded: it panicked");
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("slot", &self.0.slot).finish_non_exhaustive()
    }
}

/// The thread that saves a [`State`]. Dropped, it saves once more, and is waited for.
#[must_use = "dropping it ends the thread"]
pub struct StateGuard {
    state: State,
    thread: Option<JoinHandle<()>>,
}

impl StateGuard {
    /// Lets the thread save once more and end, without waiting for it.
    pub fn begin_shutdown(&self) {
        *lock(&self.state.0.stop.0) = true;
        self.state.0.stop.1.notify_all();
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for StateGuard {
    fn drop(&mut self) {
        self.begin_shutdown();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for StateGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateGuard").finish_non_exhaustive()
    }
}
