//! The database: its tables, its rows.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, ffi, params};
use steeple_scrub::Scrubbed;

use super::place;
use crate::store::NewRow;

/// The number of classes; higher ones count as the last.
pub(super) const CLASSES: usize = 4;

const VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE ev(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, key BLOB,
        class INTEGER NOT NULL, crc INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX ev_key ON ev(key) WHERE key IS NOT NULL;
    CREATE INDEX ev_class ON ev(class);
    CREATE TABLE sink(name TEXT PRIMARY KEY, acked INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE exc(
        seq INTEGER NOT NULL, sink TEXT NOT NULL, kind INTEGER NOT NULL, tries INTEGER NOT NULL, attempt INTEGER NOT NULL,
        why TEXT, PRIMARY KEY(seq, sink)) WITHOUT ROWID;
    CREATE INDEX exc_sink ON exc(sink, kind);
    CREATE TABLE usage(class INTEGER PRIMARY KEY, items INTEGER NOT NULL, bytes INTEGER NOT NULL);
    CREATE TABLE mark(key BLOB NOT NULL, kind INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(key, kind)) WITHOUT ROWID;
    CREATE TABLE adopted(store TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// What a row weighs; as `NewRow::size`.
pub(super) const SIZE: &str = "octet_length(body) + octet_length(id) + ifnull(octet_length(key), 0) + 96";

/// What an exception is about.
pub(super) const RETRY: i64 = 0;
pub(super) const DEAD: i64 = 1;
/// Settled, though the cursor has not come so far: rows of a store that was adopted.
pub(super) const DONE: i64 = 2;

/// What a mark is about.
pub(super) const ERASED: i64 = 0;
pub(super) const REVOKED: i64 = 1;

/// More rows than there will ever be.
const MAX_PLACE: i64 = i64::MAX >> 8;

/// How long a lock of another connection is waited for. Only tools have one: a store's thread is alone otherwise.
const BUSY: Duration = Duration::from_secs(5);

/// The place of the newest row that there ever was.
pub(super) fn newest(db: &Connection) -> rusqlite::Result<u64> {
    let newest: Option<i64> =
        db.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'ev'", [], |row| row.get(0)).optional()?;
    match newest.unwrap_or_default() {
        newest @ 0..=MAX_PLACE => Ok(newest.cast_unsigned()),
        damaged => Err(rusqlite::Error::IntegralValueOutOfRange(0, damaged)),
    }
}

/// Opens a database, and makes it if it is not there.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    place::make_file(path).map_err(|error| failure(ffi::SQLITE_CANTOPEN, error.to_string()))?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    // In this order: once there is a log, a database cannot learn to shrink.
    db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA secure_delete = ON;")?;
    db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    db.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304; PRAGMA cache_size = -2048;
         PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 10000;",
    )?;
    db.set_prepared_statement_cache_capacity(64);
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        0 => {
            let tx = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
            tx.execute_batch(SCHEMA)?;
            tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
            let name = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            tx.execute("INSERT INTO meta VALUES ('store', ?1)", [name])?;
            tx.commit()?;
        }
        VERSION => {}
        _ => return Err(failure(ffi::SQLITE_NOTADB, "not a store of this version".to_owned())),
    }
    Ok(db)
}

/// Opens a database to look at it. Nothing is changed.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

fn failure(code: i32, message: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message))
}

/// Whether the file is damaged, so that no second try helps.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other errors are not about the file")]
    match error {
        // All that is not a disk, a lock or memory: the statements are always the same, so that a table that is not there, a value
        // that is too big or a key that is there twice is damage.
        rusqlite::Error::SqliteFailure(failure, _) => !matches!(
            failure.code,
            ErrorCode::PermissionDenied
                | ErrorCode::OperationAborted
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::OperationInterrupted
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::ApiMisuse
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::AuthorizationForStatementDenied
        ),
        // A table or a column that is not there, a value of another type than was written.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// `None`: it is damaged. Any other failure to read is an error: it may succeed a moment later.
pub(super) fn unless_damaged<T>(read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Err(error) if is_damage(&error) => Ok(None),
        read => read.map(Some),
    }
}

/// A row as it is read, checked against its checksum. `None`: damaged.
pub(super) fn row(row: &Row<'_>) -> rusqlite::Result<(u64, Option<NewRow>)> {
    let seq: i64 = row.get(0)?;
    let read = || {
        let id = row.get_ref(1).ok()?.as_str().ok()?;
        let at = row.get_ref(2).ok()?.as_i64().ok()?;
        let key = row.get_ref(3).ok()?.as_blob_or_null().ok()?;
        let class = u8::try_from(row.get_ref(4).ok()?.as_i64().ok()?).ok()?;
        let crc = row.get_ref(5).ok()?.as_i64().ok()?;
        let body = row.get_ref(6).ok()?.as_str().ok()?;
        let new = NewRow {
            id: id.into(),
            at: Duration::from_micros(u64::try_from(at).ok()?),
            key: key.map(Into::into),
            class,
            body: Scrubbed::from_application(body.into()),
        };
        (i64::from(checksum(&new)) == crc).then_some(new)
    };
    Ok((seq.cast_unsigned(), read()))
}

/// What [`row`] reads.
pub(super) const COLUMNS: &str = "seq, id, at, key, class, crc, body";

pub(super) fn micros(at: Duration) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

fn checksum(row: &NewRow) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(row.id.as_bytes());
    hasher.update(&micros(row.at).to_le_bytes());
    hasher.update(row.key.as_deref().unwrap_or_default());
    hasher.update(&[row.class]);
    hasher.update(row.body.as_bytes());
    hasher.finalize()
}

/// How far a sink has come, as it is read, checked against its checksum: by a wrong one rows would be skipped.
pub(super) fn acked(row: &Row<'_>) -> rusqlite::Result<(String, u64)> {
    let (name, acked, crc): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    if acked < 0 || crc != i64::from(checksum_of(&name, acked.cast_unsigned())) {
        return Err(rusqlite::Error::IntegralValueOutOfRange(1, acked));
    }
    Ok((name, acked.cast_unsigned()))
}

/// What [`acked`] reads.
pub(super) const ACKED: &str = "name, acked, crc";

/// Notes how far a sink has come.
pub(super) fn set_acked(db: &Connection, name: &str, acked: u64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO sink VALUES (?1, ?2, ?3)")?
        .execute(params![name, acked.cast_signed(), checksum_of(name, acked)])
        .map(drop)
}

fn checksum_of(name: &str, acked: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&acked.to_le_bytes());
    hasher.finalize()
}

/// Inserts a row. `None`: a row with this id is there already.
pub(super) fn insert(db: &Connection, row: &NewRow) -> rusqlite::Result<Option<u64>> {
    let mut statement = db.prepare_cached(
        "INSERT INTO ev(id, at, key, class, crc, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(id) DO NOTHING",
    )?;
    let inserted = statement.execute(params![
        &*row.id,
        micros(row.at),
        row.key.as_deref(),
        row.class,
        checksum(row),
        &**row.body
    ])?;
    Ok((inserted > 0).then(|| db.last_insert_rowid().cast_unsigned()))
}

/// How many rows there are of each class, and what they weigh.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) items: [u64; CLASSES],
    pub(super) bytes: [u64; CLASSES],
}

impl Usage {
    pub(super) fn class(class: u8) -> usize {
        usize::from(class).min(CLASSES.saturating_sub(1))
    }

    pub(super) fn add(&mut self, class: u8, bytes: u64) {
        if let (Some(items), Some(weight)) =
            (self.items.get_mut(Self::class(class)), self.bytes.get_mut(Self::class(class)))
        {
            *items = items.saturating_add(1);
            *weight = weight.saturating_add(bytes);
        }
    }

    pub(super) fn remove(&mut self, class: u8, bytes: u64) {
        if let (Some(items), Some(weight)) =
            (self.items.get_mut(Self::class(class)), self.bytes.get_mut(Self::class(class)))
        {
            *items = items.saturating_sub(1);
            *weight = weight.saturating_sub(bytes);
        }
    }

    pub(super) fn total_items(&self) -> u64 {
        self.items.iter().sum()
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// The lowest class of which there is a row, if it is below `class`.
    pub(super) fn lowest_below(&self, class: u8) -> Option<u8> {
        let place = self.items.iter().position(|items| *items > 0)?;
        u8::try_from(place).ok().filter(|lowest| *lowest < class)
    }

    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut usage = Self::default();
        let mut statement = db.prepare("SELECT class, items, bytes FROM usage")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let class: i64 = row.get(0)?;
            let place = usize::try_from(class).unwrap_or(usize::MAX);
            if let (Some(items), Some(bytes)) = (usage.items.get_mut(place), usage.bytes.get_mut(place)) {
                *items = row.get::<_, i64>(1)?.max(0).cast_unsigned();
                *bytes = row.get::<_, i64>(2)?.max(0).cast_unsigned();
            }
        }
        Ok(usage)
    }

    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut statement = db.prepare_cached("INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3)")?;
        for (class, (items, bytes)) in self.items.iter().zip(&self.bytes).enumerate() {
            statement.execute(params![
                i64::try_from(class).unwrap_or_default(),
                items.cast_signed(),
                bytes.cast_signed()
            ])?;
        }
        Ok(())
    }
}
