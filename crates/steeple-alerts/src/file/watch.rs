use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{FileError, MAX_BYTES};
use crate::{
    Alerts, BuildError, Rules,
    alerts::{Inner, lock},
};

/// The file of the rules, as it was read last.
#[derive(Debug)]
pub(crate) struct RuleFile {
    path: PathBuf,
    base: Rules,
    /// On a fleet, rules about the whole service are Prometheus's.
    of_instance: bool,
    last: Option<Result<String, FileError>>,
}

/// What reading the file again has found.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is as it was.
    Same,
    Rules(Rules),
    Invalid(FileError),
}

impl RuleFile {
    pub(crate) fn new(path: PathBuf, base: Rules, of_instance: bool) -> Self {
        Self { path, base, of_instance, last: None }
    }

    pub(crate) fn read(&mut self) -> Change {
        let found = contents(&self.path)
            .map_err(|error| FileError::new(None, "", format!("cannot be read: {error}")).of_file(&self.path));
        if self.last.as_ref() == Some(&found) {
            return Change::Same;
        }
        let rules = found
            .clone()
            .and_then(|text| Rules::from_toml(&text, &self.base).map_err(|error| error.of_file(&self.path)));
        self.last = Some(found);
        match rules {
            Ok(rules) if self.of_instance => Change::Rules(rules.of_instance()),
            Ok(rules) => Change::Rules(rules),
            Err(error) => Change::Invalid(error),
        }
    }
}

fn contents(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        // A pipe would block.
        return Err(io::Error::other("not a file"));
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

impl Alerts {
    /// Reads the rules file again, on another thread: returns at once. Without a file, it does nothing.
    ///
    /// An invalid file changes nothing: the former rules stay in force. The error is logged (target
    /// `steeple::alerts`) and in [`file_error`](Self::file_error).
    pub fn reload(&self) {
        if let Some(asks) = &*lock(&self.0.reloads.asks) {
            // Full: it is about to look anyway.
            let _full = asks.try_send(());
        }
    }

    /// Why the rules file was rejected when it was last read. `None` if it was accepted, or without a file.
    pub fn file_error(&self) -> Option<FileError> {
        lock(&self.0.reloads.seen).error.clone()
    }

    /// How often a changed file of the rules was read: those that were taken, and those that were invalid.
    pub fn reloads(&self) -> (u64, u64) {
        let seen = lock(&self.0.reloads.seen);
        (seen.ok, seen.failed)
    }

    /// Watches the file for as long as the alerts are there.
    pub(crate) fn watch_file(&self, file: RuleFile, interval: Duration) -> Result<(), BuildError> {
        let (asks, asked) = sync_channel(1);
        let inner = Arc::downgrade(&self.0);
        thread::Builder::new()
            .name("steeple-rules".to_owned())
            .spawn(move || watch(file, interval, &inner, &asked))
            .map_err(BuildError::history)?;
        *lock(&self.0.reloads.asks) = Some(asks);
        Ok(())
    }

    fn take_from(&self, file: &mut RuleFile) {
        let invalid = match file.read() {
            Change::Same => return,
            Change::Rules(rules) => {
                self.set_rules(rules).err().map(|error| FileError::new(None, "", error.to_string()).of_file(&file.path))
            }
            Change::Invalid(error) => Some(error),
        };
        let mut seen = lock(&self.0.reloads.seen);
        if let Some(error) = &invalid {
            seen.failed = seen.failed.saturating_add(1);
            tracing::warn!(target: "steeple::alerts", %error, "the rules are invalid; those before stay");
        } else {
            seen.ok = seen.ok.saturating_add(1);
            tracing::info!(target: "steeple::alerts", file = %file.path.display(), "the rules were read");
        }
        seen.error = invalid;
    }
}

/// The file's contents are compared: a mount of Kubernetes is another file with the same name.
fn watch(mut file: RuleFile, interval: Duration, inner: &Weak<Inner>, asked: &Receiver<()>) {
    while asked.recv_timeout(interval) != Err(RecvTimeoutError::Disconnected) {
        let Some(inner) = inner.upgrade() else { return };
        let alerts = Alerts(inner);
        if lock(&alerts.0.state).is_stopped {
            return;
        }
        alerts.take_from(&mut file);
    }
}
