//! What the application does besides answering requests: queries, caches, users. Each group is made at the first call for it.

pub(crate) mod build_info;
pub(crate) mod cache;
pub(crate) mod connections;
pub(crate) mod database;
pub(crate) mod named;
pub(crate) mod process;
#[cfg(feature = "tokio-runtime")]
pub(crate) mod runtime;
mod sql;
#[cfg(feature = "sqlx")]
pub(crate) mod sqlx;
pub(crate) mod statement;
pub(crate) mod users;
pub(crate) mod watcher;
