//! What can go wrong with the database.

use std::{error::Error, fmt, path::PathBuf};

/// The database cannot be opened, or a query failed.
#[derive(Debug)]
pub struct StoreError {
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
#[cfg_attr(not(feature = "full"), expect(dead_code, reason = "what can go wrong with a file"))]
enum Kind {
    Open(PathBuf),
    Scratch,
    Query { operation: &'static str, table: &'static str },
    Taken { table: &'static str },
    Lost,
}

/// What the tables in memory refuse.
#[cfg(any(not(feature = "full"), test))]
impl StoreError {
    pub(super) fn no_files(path: PathBuf) -> Self {
        let why = "this build has its tables in memory; build with `--features full` for a file";
        Self { kind: Kind::Open(path), source: Some(why.into()) }
    }

    pub(super) fn taken(table: &'static str) -> Self {
        Self { kind: Kind::Taken { table }, source: None }
    }
}

#[cfg(feature = "full")]
impl StoreError {
    pub(super) fn open(path: PathBuf, source: rusqlite::Error) -> Self {
        Self { kind: Kind::Open(path), source: Some(Box::new(source)) }
    }

    pub(super) fn scratch(source: std::io::Error) -> Self {
        Self { kind: Kind::Scratch, source: Some(Box::new(source)) }
    }

    pub(super) fn query(operation: &'static str, table: &'static str, source: rusqlite::Error) -> Self {
        let unique = source.sqlite_error().is_some_and(|error| {
            error.code == rusqlite::ErrorCode::ConstraintViolation
                && error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
        });
        let kind = if unique { Kind::Taken { table } } else { Kind::Query { operation, table } };
        Self { kind, source: Some(Box::new(source)) }
    }

    pub(super) fn lost(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Lost, source: Some(source.into()) }
    }
}

impl StoreError {
    /// A row with the same unique value is there already. Retrying does not help.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.kind, Kind::Taken { .. })
    }

    /// The database cannot be opened: a path or a disk is wrong.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.kind, Kind::Open(_) | Kind::Scratch)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Open(path) => write!(f, "cannot open the database {}", path.display()),
            Kind::Scratch => f.write_str("cannot make a directory for a temporary database"),
            Kind::Query { operation, table } => write!(f, "the database could not {operation} {table}"),
            Kind::Taken { table } => write!(f, "{table} holds this already"),
            Kind::Lost => f.write_str("a query got lost"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
