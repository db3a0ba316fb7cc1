//! The places that instances of one service have in a directory: each a file, and a lock for as long as the instance lives.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use steeple_core::text::cut;

use super::format::{Contents, Header, MAX_BYTES, MAX_TEXT};
use crate::os;

/// Most instances of one service in one environment that share a directory.
const SLOTS: u32 = 64;

/// The longest part of a file's name that comes from a setting.
const MAX_NAME: usize = 40;

/// The directory, and which files in it are ours.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// `shop.production`
    name: String,
    service: String,
    environment: String,
}

/// A place that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    base: PathBuf,
    /// Locked. The lock goes with the process, however it ends.
    _lock: File,
}

/// A slot whose last instance is gone, and what it left.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) slot: Slot,
    pub(super) contents: Contents,
}

impl Directory {
    pub(super) fn open(path: &Path, service: &str, environment: &str) -> io::Result<Self> {
        os::make_private_directory(path)?;
        let name = format!("{}.{}", in_file_names(service), in_file_names(environment));
        // As the header has them.
        let [service, environment] = [service, environment].map(|text| cut(text, MAX_TEXT).to_owned());
        Ok(Self { path: path.to_owned(), name, service, environment })
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn environment(&self) -> &str {
        &self.environment
    }

    fn base(&self, slot: u32) -> PathBuf {
        self.path.join(format!("{}.{slot}", self.name))
    }

    /// Takes a slot if it is free.
    fn lock(&self, slot: u32) -> io::Result<Option<Slot>> {
        let base = self.base(slot);
        let lock = os::private().write(true).create(true).truncate(false).open(with(&base, "lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Slot { base, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The slot that was saved last of those whose instance is gone, but for one.
    pub(super) fn newest_orphan(&self, but: Option<&Slot>) -> io::Result<Option<Orphan>> {
        let saved = |slot: u32| {
            let base = self.base(slot);
            if but.is_some_and(|own| own.base == base) {
                return None;
            }
            Some((self.header(&base)?.saved, slot))
        };
        let mut found: Vec<_> = (1..=SLOTS).filter_map(saved).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        for (_, number) in found {
            let Some(slot) = self.lock(number)? else { continue };
            // A file that is damaged is as good as none.
            if let Some(contents) = slot.load() {
                return Ok(Some(Orphan { slot, contents }));
            }
        }
        Ok(None)
    }

    /// Whether another slot has a state of this service, whose instance may still run.
    pub(super) fn has_others(&self, own: &Slot) -> bool {
        (1..=SLOTS).map(|slot| self.base(slot)).any(|base| own.base != base && self.header(&base).is_some())
    }

    /// The header of a state of this service.
    fn header(&self, base: &Path) -> Option<Header> {
        let mut start = Vec::new();
        let most = u64::try_from(Header::MAX_BYTES).unwrap_or(u64::MAX);
        File::open(with(base, "state")).ok()?.take(most).read_to_end(&mut start).ok()?;
        let header = Header::decode(&start)?;
        (header.service == self.service && header.environment == self.environment).then_some(header)
    }

    /// A slot without a file. `None`: there are as many instances as there are slots.
    pub(super) fn free(&self) -> io::Result<Option<Slot>> {
        // Those whose file could not be adopted come last.
        let (empty, other): (Vec<u32>, Vec<u32>) =
            (1..=SLOTS).partition(|slot| !with(&self.base(*slot), "state").exists());
        for number in empty.into_iter().chain(other) {
            if let Some(slot) = self.lock(number)? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }
}

impl Slot {
    fn load(&self) -> Option<Contents> {
        let mut file = Vec::new();
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        File::open(with(&self.base, "state")).ok()?.take(most).read_to_end(&mut file).ok()?;
        Contents::decode(&file)
    }

    /// Puts a file into the place of the one that was there: either is there whole, whatever happens.
    pub(super) fn save(&self, file: &[u8]) -> io::Result<()> {
        let (new, place) = (with(&self.base, "new"), with(&self.base, "state"));
        // Files that a killed process has left.
        let _none = std::fs::remove_file(&new);
        let mut writer = os::private().write(true).create_new(true).open(&new)?;
        writer.write_all(file)?;
        writer.sync_all()?;
        drop(writer);
        std::fs::rename(&new, &place)
    }

    /// Removes the file, whose contents are in another one.
    pub(super) fn clear(&self) -> io::Result<()> {
        std::fs::remove_file(with(&self.base, "state"))
    }
}

fn with(base: &Path, extension: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// A setting as a part of a file's name. Two settings may have the same; the header of the file tells them apart.
fn in_file_names(text: &str) -> String {
    let safe = text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' });
    safe.take(MAX_NAME).collect()
}
