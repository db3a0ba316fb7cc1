//! Secrets that are read from files, and change while the process runs: a key that is rotated.
//!
//! [`watch`] remembers what a file held when a sink was built with it. [`reread`] reads all of them again, at most as often as it
//! is called; the HTTP client calls it after a 401 or 403, at most once a minute, and sends the request again if there is a new
//! secret. From then on whatever leaves through the client has the new value in the place of the old one: in headers, in the
//! credentials of Basic authentication, in the URL, in bodies that are marked (`Request::secrets_in_body`). What is signed instead, or
//! compared, asks [`current`].

#[cfg(feature = "http")]
mod replace;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use steeple_core::clock;

#[cfg(feature = "http")]
pub(crate) use self::replace::apply;

/// A secret is short; `/dev/zero` is not.
const MAX_BYTES: u64 = 64 * 1024;

/// Most files that are remembered. A process has one for each of its receivers.
const MAX_FILES: usize = 64;

/// What a variable holds whose value comes from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// A key or a password.
    Text,
    /// A URL, whose user, path or query is the secret.
    Url,
    /// Sentry's DSN: a URL whose user goes into a header, whose project into another path.
    Dsn,
    /// `name=value,name=value`: headers, as OpenTelemetry's variables have them.
    Headers,
}

impl Form {
    /// By the name of the variable: `_URL` and `_WEBHOOK` are URLs, `_DSN` is one of Sentry's, `_HEADERS` headers, all others texts.
    pub fn of(variable: &str) -> Self {
        if variable.ends_with("_HEADERS") {
            Self::Headers
        } else if variable.ends_with("_DSN") {
            Self::Dsn
        } else if ["_URL", "_WEBHOOK"].iter().any(|end| variable.ends_with(end)) {
            Self::Url
        } else {
            Self::Text
        }
    }
}

#[derive(Clone)]
struct Watched {
    variable: Arc<str>,
    path: PathBuf,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the client replaces by it"))]
    form: Form,
    /// What sinks were built with.
    old: Arc<str>,
    /// What the file held when it was last read.
    new: Arc<str>,
}

static FILES: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Held by whoever reads the files again: what was read earlier never replaces what was read later.
static READING: Mutex<()> = Mutex::new(());

/// How often a file has had another secret than before.
static CHANGES: AtomicUsize = AtomicUsize::new(0);

fn files() -> std::sync::MutexGuard<'static, Vec<Watched>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that was made with secrets. It is made again once a file has another one.
#[derive(Debug)]
pub struct Remade<T>(RwLock<Made<T>>);

#[derive(Debug)]
struct Made<T> {
    /// How many files had changed when it was looked at.
    changes: usize,
    value: Arc<T>,
}

impl<T> Remade<T> {
    /// As it was made at the start, with the secrets as they are given.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Made { changes: 0, value: Arc::new(value) }))
    }

    /// The value as it is now. Where a file has changed since it was last asked for, `renew` looks for its secrets with [`current`];
    /// `None`: the value stays.
    pub fn get(&self, renew: impl FnOnce(&T) -> Option<T>) -> Arc<T> {
        let changes = changes();
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if known.changes >= changes {
                return Arc::clone(&known.value);
            }
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.changes < changes {
            known.changes = changes;
            if let Some(value) = renew(&known.value) {
                known.value = Arc::new(value);
            }
        }
        Arc::clone(&known.value)
    }
}

/// Remembers that a variable's value came from this file: [`reread`] reads it again. Of the same file with the same value the
/// first counts; after 64 files none is remembered.
pub fn watch(variable: &str, path: impl Into<PathBuf>, value: &str) {
    let path = path.into();
    let mut files = files();
    let is_known = files.iter().any(|file| file.path == path && *file.variable == *variable && *file.old == *value);
    if !is_known && files.len() < MAX_FILES {
        let (variable, value) = (Arc::from(variable), Arc::from(value));
        files.push(Watched { form: Form::of(&variable), variable, path, old: Arc::clone(&value), new: value });
    }
}

/// Whether this secret came from a file, as far as it was [watched](watch).
pub fn is_from_file(value: &str) -> bool {
    files().iter().any(|file| *file.old == *value)
}

/// Whether any secret came from a file.
#[cfg(feature = "http")]
pub(crate) fn is_any_watched() -> bool {
    !files().is_empty()
}

/// The secret that has taken the place of this one. `None`: it is not from a file, or the file still has it.
pub fn current(value: &str) -> Option<Arc<str>> {
    if changes() == 0 {
        return None;
    }
    files().iter().find(|file| *file.old == *value && file.new != file.old).map(|file| Arc::clone(&file.new))
}

/// How often a file has had another secret than before, in this process. [`Remade`] looks at it.
pub fn changes() -> usize {
    CHANGES.load(Ordering::Acquire)
}

/// Reads all files again. Returns how many hold another secret than before. A file that cannot be read, or is empty, changes nothing
/// and is a warning in the log, without what it held. Blocks for as long as the file system does.
pub fn reread() -> usize {
    let _reading = READING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = files().clone();
    let read: Vec<_> = before.iter().map(|file| read(&file.path)).collect();
    let mut found = 0_usize;
    let mut files = files();
    for (known, read) in before.iter().zip(read) {
        let variable = &known.variable;
        let value = match read {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(target: "steeple::secrets", variable = &**variable, error, "the file of a secret cannot be read again");
                continue;
            }
        };
        let is_known =
            |file: &&mut Watched| file.path == known.path && file.variable == known.variable && file.old == known.old;
        let Some(file) = files.iter_mut().find(is_known) else {
            continue;
        };
        if *file.new != *value {
            file.new = value.into();
            found = found.saturating_add(1);
            tracing::info!(target: "steeple::secrets", variable = &**variable, "the file of a secret has a new one");
        }
    }
    drop(files);
    if found > 0 {
        CHANGES.fetch_add(found, Ordering::AcqRel);
    }
    found
}

/// What one sink does when its receiver refuses its secret: it reads the files again, at most once a minute.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Option<Instant>>);

/// How often at most one sink's refusals make files be read again.
const REREAD_EVERY: Duration = Duration::from_secs(60);

impl Refusals {
    /// Reads the files again, if this sink has not for a minute. On the helper thread: a file system may take its time.
    pub async fn reread(&self) {
        if self.is_due(clock::now()) {
            let _caught = crate::offload(reread).await;
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= REREAD_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    let value = text.trim();
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err("it holds no line of text".to_owned());
    }
    Ok(value.to_owned())
}

/// The old and the new secrets of files that have changed.
#[cfg(feature = "http")]
fn changed() -> Vec<(Form, Arc<str>, Arc<str>)> {
    let files = files();
    let changed = files.iter().filter(|file| file.new != file.old);
    changed.map(|file| (file.form, Arc::clone(&file.old), Arc::clone(&file.new))).collect()
}

#[cfg(test)]
mod tests {
    //! The files are those of the process: another test may read them again at any time.

    use super::*;

    #[test]
    fn a_file_that_changes_has_a_current_secret_and_one_that_breaks_keeps_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first-of-this-test\n").unwrap();
        watch("A_TOKEN", &path, "first-of-this-test");
        assert_eq!(current("first-of-this-test"), None);
        std::fs::write(&path, "second-of-this-test\n").unwrap();
        reread();
        assert!(changes() >= 1);
        assert_eq!(current("first-of-this-test").as_deref(), Some("second-of-this-test"));
        for broken in ["", "two\nlines"] {
            std::fs::write(&path, broken).unwrap();
            reread();
            assert_eq!(current("first-of-this-test").as_deref(), Some("second-of-this-test"));
        }
        std::fs::remove_file(&path).unwrap();
        reread();
        assert_eq!(current("first-of-this-test").as_deref(), Some("second-of-this-test"));
        std::fs::write(&path, "first-of-this-test").unwrap();
        reread();
        assert_eq!(current("first-of-this-test"), None, "back to the first");
    }

    #[test]
    fn of_one_file_that_two_variables_name_both_have_the_new_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shared");
        std::fs::write(&path, "https://old-of-two.example").unwrap();
        for variable in ["ONE_TOKEN", "OTHER_URL"] {
            watch(variable, &path, "https://old-of-two.example");
        }
        std::fs::write(&path, "https://new-of-two.example").unwrap();
        reread();
        let new = |file: &Watched| file.path == path && &*file.new == "https://new-of-two.example";
        assert_eq!(files().iter().filter(|file| new(file)).count(), 2);
    }

    #[test]
    fn a_value_is_made_again_when_its_file_has_changed_and_stays_when_it_cannot_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made");
        std::fs::write(&path, "first-of-what-is-made").unwrap();
        watch("MADE_TOKEN", &path, "first-of-what-is-made");
        let remade = Remade::new("with first-of-what-is-made".to_owned());
        let renew = |_: &String| current("first-of-what-is-made").map(|secret| format!("with {secret}"));
        assert_eq!(*remade.get(renew), "with first-of-what-is-made");
        std::fs::write(&path, "second-of-what-is-made").unwrap();
        reread();
        let second = remade.get(renew);
        assert_eq!(*second, "with second-of-what-is-made");
        std::fs::write(&path, "third-of-what-is-made").unwrap();
        reread();
        assert!(Arc::ptr_eq(&second, &remade.get(|_| None)), "it could not be made");
    }

    #[test]
    fn refusals_read_files_again_once_a_minute() {
        let (refusals, start) = (Refusals::default(), clock::now());
        let due = [0, 59, 60, 61, 119, 120].map(|seconds| refusals.is_due(start + Duration::from_secs(seconds)));
        assert_eq!(due, [true, false, true, false, false, true]);
    }

    #[test]
    fn a_form_is_known_by_the_name() {
        let forms =
            ["SENTRY_DSN", "ALERTS_WEBHOOK_URL", "OTEL_EXPORTER_OTLP_HEADERS", "NEW_RELIC_LICENSE_KEY"].map(Form::of);
        assert_eq!(forms, [Form::Dsn, Form::Url, Form::Headers, Form::Text]);
    }
}
