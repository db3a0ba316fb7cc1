//! Where a store lives: `<directory>/<id>/outbox.db`, one directory a process, held by a lock as long as the process lives.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use steeple_core::clock;

/// The database, and the lock, in a store's own directory.
pub(super) const DATABASE: &str = "outbox.db";
const LOCK: &str = "lock";

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

    /// A place that no living process holds, else a new one.
    pub(super) fn claim(root: &Path) -> io::Result<Self> {
        make_directory(root)?;
        refuse_network(root)?;
        for directory in siblings(root)? {
            if let Some(place) = Self::lock(directory)? {
                return Ok(place);
            }
        }
        // Names sort by age.
        let name = format!("{:016x}-{:08x}", clock::unix_now().as_micros(), fastrand::u32(..));
        let directory = root.join(name);
        make_directory(&directory)?;
        Self::lock(directory)?.ok_or_else(|| io::Error::other("another process took the directory that was just made"))
    }

    /// The places of processes that have ended.
    pub(super) fn abandoned(root: &Path, own: &Path) -> io::Result<Vec<Self>> {
        let others = siblings(root)?.into_iter().filter(|directory| directory != own);
        Ok(others.filter_map(|directory| Self::lock(directory).ok().flatten()).collect())
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

    /// Removes it, with all that is in it.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
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
    let mut found: Vec<_> =
        entries(root)?.into_iter().filter(|path| path.join(LOCK).exists() || path.join(DATABASE).exists()).collect();
    found.sort();
    Ok(found)
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
    let found = rustix::fs::statfs(path)?;
    #[expect(clippy::cast_sign_loss, reason = "a number that is compared, signed on some targets")]
    let kind = (found.f_type as u64) & 0xffff_ffff;
    match REFUSED.iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("a file system over a network ({name}): use a local one"),
        )),
        None => Ok(()),
    }
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
