//! Where a store lives: `<directory>/<id>/outbox.db`, one directory a process, held by a lock as long as the process lives.
//!
//! Each directory has one owner: the process that holds its lock, or, where it has the file `adopter`, the owner of the directory
//! that is named there. That file is written before the first row of an adoption is, by whoever holds the lock, and the directory
//! that it names is removed only once the file names another one: wherever processes end, each row belongs to one directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use steeple_core::clock;

use super::fail;

/// The database, and the lock, in a store's own directory.
pub(super) const DATABASE: &str = "outbox.db";
const LOCK: &str = "lock";
/// Has the name of the directory whose store takes this one in.
const ADOPTER: &str = "adopter";
/// How the name of a directory ends that is being removed.
const GONE: &str = ".gone";

/// How often a new directory is made: another process may take one for left before it is locked.
const MAX_TRIES: u32 = 16;

/// Damaged files that are kept beside a store; older ones are removed.
const MAX_DAMAGED: usize = 2;

/// A store's own directory, locked.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    _lock: File,
}

impl Place {
    pub(super) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A place that no living process holds and none takes in, else a new one.
    pub(super) fn claim(root: &Path) -> io::Result<Self> {
        make_directory(root)?;
        refuse_network(root)?;
        clear(root);
        for directory in siblings(root)? {
            if let Some(place) = Self::lock(directory)?
                && place.adopter().is_ok_and(|by| by.is_none())
            {
                return Ok(place);
            }
        }
        for _ in 0..MAX_TRIES {
            // Names sort by age.
            let name = format!("{:016x}-{:08x}", clock::unix_now().as_micros(), fastrand::u32(..));
            let directory = root.join(name);
            make_directory(&directory)?;
            if let Some(place) = Self::lock(directory)? {
                return Ok(place);
            }
        }
        Err(io::Error::other("other processes took the directories that were just made"))
    }

    /// The places of processes that have ended, but for those that others take in.
    pub(super) fn abandoned(root: &Path, own: &Path) -> io::Result<Vec<Self>> {
        clear(root);
        let others = siblings(root)?.into_iter().filter(|directory| directory != own);
        let places = others.filter_map(|directory| Self::lock(directory).ok().flatten());
        Ok(places.filter(|place| place.adopter().is_ok_and(|by| by.is_none_or(|by| by == own))).collect())
    }

    /// The directory whose store takes this one in. `None`: no store does, or its directory was removed.
    fn adopter(&self) -> io::Result<Option<PathBuf>> {
        let by = adopter_of(&self.directory)?;
        Ok(by.filter(|by| is_store(by)))
    }

    /// Whether another store takes it in.
    pub(super) fn is_given(&self) -> bool {
        self.adopter().is_ok_and(|by| by.is_some())
    }

    /// Notes, on the disk, that the store in another directory takes this one in.
    pub(super) fn give_to(&self, adopter: &Path) -> io::Result<()> {
        let name = adopter.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let (path, new) = (self.directory.join(ADOPTER), self.directory.join(format!("{ADOPTER}.new")));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        private(&mut options);
        let mut file = options.open(&new)?;
        file.write_all(name.as_encoded_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)?;
        sync_directory(&self.directory)
    }

    /// The places that were given to this one. `None`: another process looks at one of them at this moment.
    pub(super) fn wards(&self) -> io::Result<Option<Vec<Self>>> {
        let root = self.directory.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let is_ward = |directory: &Path| adopter_of(directory).is_ok_and(|by| by.as_ref() == Some(&self.directory));
        let mut wards = Vec::new();
        for directory in siblings(root)?.into_iter().filter(|directory| is_ward(directory)) {
            match Self::lock(directory)? {
                Some(ward) if is_ward(&ward.directory) => wards.push(ward),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(wards))
    }

    fn lock(directory: PathBuf) -> io::Result<Option<Self>> {
        let path = directory.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let lock = match options.open(&path) {
            Ok(lock) => lock,
            // Removed meanwhile by the process that adopted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            // The lock of a directory that is gone holds nothing.
            Ok(()) => Ok(path.exists().then_some(Self { directory, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes it, with all that is in it: at once, so that no other process finds a part of it.
    pub(super) fn remove(self) -> io::Result<()> {
        let mut name = self.directory.clone().into_os_string();
        name.push(GONE);
        let gone = PathBuf::from(name);
        fs::rename(&self.directory, &gone)?;
        if let Some(root) = gone.parent() {
            sync_directory(root)?;
        }
        fail::point("removing");
        fs::remove_dir_all(gone)
    }

    /// Sets the database's files aside. Returns where the database is now.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let mut damaged: Vec<_> = entries(&self.directory)?
            .into_iter()
            .filter(|path| is_damaged(path) && path.extension().is_some())
            .collect();
        damaged.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
        damaged.sort();
        let surplus = damaged.len().saturating_sub(MAX_DAMAGED.saturating_sub(1));
        for path in damaged.into_iter().take(surplus) {
            for path in with_companions(&path) {
                let _gone = fs::remove_file(path);
            }
        }
        let aside = self.directory.join(format!("damaged-{:016x}.db", clock::unix_now().as_micros()));
        for (from, to) in with_companions(&self.database()).into_iter().zip(with_companions(&aside)) {
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(aside)
    }
}

fn is_damaged(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("damaged-"))
}

/// A database's file, its log and the log's index.
fn with_companions(path: &Path) -> [PathBuf; 3] {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    [path.to_owned(), with("-wal"), with("-shm")]
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// The stores' directories below `root`, the oldest first.
pub(super) fn siblings(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<_> = entries(root)?.into_iter().filter(|path| is_store(path) && !is_gone(path)).collect();
    found.sort();
    Ok(found)
}

fn is_store(path: &Path) -> bool {
    path.join(LOCK).exists() || path.join(DATABASE).exists()
}

fn is_gone(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(GONE.as_bytes())
}

/// Removes what a process left that ended while it removed a directory.
fn clear(root: &Path) {
    for gone in entries(root).unwrap_or_default().iter().filter(|path| is_gone(path)) {
        let _by_another = fs::remove_dir_all(gone);
    }
}

/// The directory that is to take this one in, whether it is there or not.
fn adopter_of(directory: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_to_string(directory.join(ADOPTER)) {
        Ok(name) => Ok(directory.parent().filter(|_| !name.is_empty()).map(|root| root.join(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has the disk know the names in a directory.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a directory that the owner alone may enter.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _unused = options;
}

/// Makes the database's file, which SQLite gives its companions the mode of.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    private(&mut options);
    options.open(path).map(drop)
}

/// SQLite's log needs memory that all processes share, and locks that work: file systems over a network have neither.
///
/// # Source
/// SQLite, "Write-Ahead Logging", 1: all processes must be on the same host; `linux/magic.h` and `statfs(2)` for the numbers.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn refuse_network(path: &Path) -> io::Result<()> {
    let found = rustix::fs::statfs(path)?;
    #[expect(clippy::cast_sign_loss, reason = "a number that is compared, signed on some targets")]
    let kind = (found.f_type as u64) & 0xffff_ffff;
    match network(kind) {
        Some(name) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("a file system over a network ({name}): use a local one"),
        )),
        None => Ok(()),
    }
}

/// The name of a file system over a network, by its number.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn network(kind: u64) -> Option<&'static str> {
    const REFUSED: [(u64, &str); 12] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x0102_1997, "9p"),
        (0x6573_5546, "FUSE"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x6462_671f, "vboxsf"),
    ];
    REFUSED.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn refuse_network(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes that are free where the store is. `None`: not known.
#[cfg(unix)]
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn file_systems_over_a_network_are_refused_and_local_ones_are_not() {
        // By `linux/magic.h`: NFS, CIFS, SMB2, 9p, FUSE (virtiofs and sshfs among them), Ceph.
        for kind in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x00c3_6400] {
            assert!(network(kind).is_some(), "{kind:x}");
        }
        // ext4, XFS, Btrfs, tmpfs, overlayfs.
        for kind in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network(kind), None, "{kind:x}");
        }
        refuse_network(Path::new("/")).unwrap();
    }

    #[test]
    fn a_place_that_was_given_away_is_free_once_the_other_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let (heir, given) = (Place::claim(root.path()).unwrap(), Place::claim(root.path()).unwrap());
        given.give_to(heir.directory()).unwrap();
        let (heirs, givens) = (heir.directory().to_owned(), given.directory().to_owned());
        drop(given);
        // Whoever starts takes a new one, and whoever runs does not take it in.
        let third = Place::claim(root.path()).unwrap();
        assert!(third.directory() != givens && third.directory() != heirs);
        assert_eq!(Place::abandoned(root.path(), third.directory()).unwrap().len(), 0);
        let ours: Vec<_> = Place::abandoned(root.path(), &heirs).unwrap();
        assert_eq!(ours.iter().map(Place::directory).collect::<Vec<_>>(), [&givens]);
        drop(ours);
        // While someone looks at it, it cannot be passed on.
        let looks = Place::lock(givens.clone()).unwrap().unwrap();
        assert!(heir.wards().unwrap().is_none());
        drop(looks);
        assert_eq!(heir.wards().unwrap().unwrap().len(), 1);
        heir.remove().unwrap();
        assert_eq!(Place::claim(root.path()).unwrap().directory(), givens);
    }

    #[test]
    fn what_was_left_of_a_removal_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let gone = root.path().join(format!("0006-1{GONE}"));
        make_directory(&gone).unwrap();
        make_file(&gone.join(DATABASE)).unwrap();
        assert_eq!(siblings(root.path()).unwrap().len(), 0);
        let place = Place::claim(root.path()).unwrap();
        assert!(!gone.exists() && place.directory().exists());
    }
}
