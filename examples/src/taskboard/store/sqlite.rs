//! The database of the full build: every statement of the service, one function each, in `SQLite`.
//!
//! Every function goes through [`Store::run`], which knows the operation and the table: the place to measure queries.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};
use steeple::{Exchange, trace::Segments};
use tempfile::TempDir;

use super::{
    super::measured::Measured,
    Operation, StoreError,
    model::{NewUser, Payment, Project, Task, User, UserSummary},
    pool::{self, Pool},
};

/// Connections that read. `SQLite` allows one writer, which has a separate connection.
const READERS: usize = 4;

const TASK: &str = "id, project_id, title, created_at, completed_at, \
     round(unixepoch(completed_at, 'subsec') - unixepoch(created_at, 'subsec'), 3)";

#[derive(Debug)]
pub(in super::super) struct Store {
    readers: Pool,
    writer: Pool,
    measured: Measured,
    /// Last, so that the files go after the connections.
    _scratch: Option<TempDir>,
}

impl Store {
    pub(in super::super) fn open(path: Option<&Path>, measured: Measured) -> Result<Self, StoreError> {
        let (path, scratch) = if let Some(path) = path {
            (path.to_owned(), None)
        } else {
            let directory = tempfile::Builder::new().prefix("taskboard-").tempdir().map_err(StoreError::scratch)?;
            (directory.path().join("taskboard.db"), Some(directory))
        };
        let pools = || {
            pool::connect(&path)?.execute_batch(include_str!("schema.sql"))?;
            Ok((Pool::open(&path, 1)?, Pool::open(&path, READERS)?))
        };
        let (writer, readers) = pools().map_err(|error| StoreError::open(path.clone(), error))?;
        Ok(Self { readers, writer, measured, _scratch: scratch })
    }

    /// Runs one statement where blocking is allowed. Dropping the future does not stop a statement that has begun.
    async fn run<T, F>(&self, operation: Operation, table: &'static str, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let pool = match operation {
            Operation::Select => &self.readers,
            Operation::Insert | Operation::Update | Operation::Delete => &self.writer,
        };
        let lease = pool.lease().await?;
        let measured = self.measured.clone();
        let work = move || {
            // Here, because the statement goes on after its caller has stopped waiting.
            let _timer = measured.query(operation.as_str(), table);
            query(lease.connection()?).map_err(|error| StoreError::query(operation.as_str(), table, error))
        };
        let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
        let name = format!("{} {table}", operation.as_str());
        let work = async { tokio::task::spawn_blocking(work).await.map_err(StoreError::lost)? };
        exchange.try_segment("db", name, work).with("db.system.name", "sqlite").await
    }

    pub(in super::super) async fn ping(&self) -> Result<(), StoreError> {
        self.run(Operation::Select, "users", |db| {
            db.prepare_cached("SELECT EXISTS (SELECT 1 FROM users)")?.query_row([], |_| Ok(()))
        })
        .await
    }

    pub(in super::super) async fn insert_user(&self, new: NewUser) -> Result<User, StoreError> {
        self.run(Operation::Insert, "users", move |db| {
            db.prepare_cached(
                "INSERT INTO users (email, name, source) VALUES (?1, ?2, ?3) \
                 RETURNING id, email, name, source, created_at",
            )?
            .query_row((new.email, new.name, new.source), |row| {
                Ok(User {
                    id: row.get(0)?,
                    email: row.get(1)?,
                    name: row.get(2)?,
                    source: row.get(3)?,
                    created_at: row.get(4)?,
                })
            })
        })
        .await
    }

    pub(in super::super) async fn user_by_email(&self, email: String) -> Result<Option<i64>, StoreError> {
        self.run(Operation::Select, "users", move |db| {
            db.prepare_cached("SELECT id FROM users WHERE email = ?1")?.query_row([email], |row| row.get(0)).optional()
        })
        .await
    }

    pub(in super::super) async fn user_summary(&self, id: i64) -> Result<Option<UserSummary>, StoreError> {
        self.run(Operation::Select, "users", move |db| {
            db.prepare_cached(
                "SELECT id, name, source, created_at, \
                   (SELECT count(*) FROM projects WHERE owner_id = users.id), \
                   (SELECT count(*) FROM tasks WHERE created_by = users.id AND completed_at IS NULL) \
                 FROM users WHERE id = ?1",
            )?
            .query_row([id], |row| {
                Ok(UserSummary {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    source: row.get(2)?,
                    created_at: row.get(3)?,
                    projects: row.get(4)?,
                    open_tasks: row.get(5)?,
                })
            })
            .optional()
        })
        .await
    }

    /// Inserts a session and says when it ends.
    pub(in super::super) async fn insert_session(
        &self,
        token_hash: [u8; 32],
        user: i64,
        method: &'static str,
    ) -> Result<String, StoreError> {
        self.run(Operation::Insert, "sessions", move |db| {
            db.prepare_cached(
                "INSERT INTO sessions (token_hash, user_id, method, expires_at) \
                 VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+24 hours')) RETURNING expires_at",
            )?
            .query_row((token_hash, user, method), |row| row.get(0))
        })
        .await
    }

    /// The user of a session that has not ended.
    pub(in super::super) async fn session_user(&self, token_hash: [u8; 32]) -> Result<Option<i64>, StoreError> {
        self.run(Operation::Select, "sessions", move |db| {
            db.prepare_cached(
                "SELECT user_id FROM sessions \
                 WHERE token_hash = ?1 AND expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            )?
            .query_row([token_hash], |row| row.get(0))
            .optional()
        })
        .await
    }

    /// Deletes sessions that have ended and says how many.
    pub(in super::super) async fn delete_ended_sessions(&self) -> Result<usize, StoreError> {
        self.run(Operation::Delete, "sessions", |db| {
            db.prepare_cached("DELETE FROM sessions WHERE expires_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")?
                .execute([])
        })
        .await
    }

    /// Inserts a project without tasks.
    pub(in super::super) async fn insert_project(
        &self,
        owner: i64,
        name: String,
        kind: &'static str,
    ) -> Result<Project, StoreError> {
        self.run(Operation::Insert, "projects", move |db| {
            db.prepare_cached(
                "INSERT INTO projects (owner_id, name, type) VALUES (?1, ?2, ?3) \
                 RETURNING id, owner_id, name, type, created_at, 0, 0",
            )?
            .query_row((owner, name, kind), project)
        })
        .await
    }

    pub(in super::super) async fn project(&self, id: i64) -> Result<Option<Project>, StoreError> {
        self.run(Operation::Select, "projects", move |db| {
            db.prepare_cached(
                "SELECT p.id, p.owner_id, p.name, p.type, p.created_at, \
                   count(t.id) - count(t.completed_at), count(t.completed_at) \
                 FROM projects p LEFT JOIN tasks t ON t.project_id = p.id WHERE p.id = ?1 GROUP BY p.id",
            )?
            .query_row([id], project)
            .optional()
        })
        .await
    }

    pub(in super::super) async fn insert_payment(
        &self,
        user: i64,
        plan: &'static str,
        minor_units: i64,
        currency: &'static str,
    ) -> Result<Payment, StoreError> {
        self.run(Operation::Insert, "payments", move |db| {
            let id = db
                .prepare_cached(
                    "INSERT INTO payments (user_id, plan, minor_units, currency) VALUES (?1, ?2, ?3, ?4) RETURNING id",
                )?
                .query_row((user, plan, minor_units, currency), |row| row.get(0))?;
            Ok(Payment { id, plan, minor_units, currency })
        })
        .await
    }

    /// Inserts a task. `committed` hears of it even when the caller has gone away by then.
    pub(in super::super) async fn insert_task<F>(
        &self,
        project: i64,
        user: i64,
        title: String,
        committed: F,
    ) -> Result<Task, StoreError>
    where
        F: FnOnce(&Task) + Send + 'static,
    {
        self.run(Operation::Insert, "tasks", move |db| {
            db.prepare_cached(&format!(
                "INSERT INTO tasks (project_id, created_by, title) VALUES (?1, ?2, ?3) RETURNING {TASK}"
            ))?
            .query_row((project, user, title), task)
            .inspect(committed)
        })
        .await
    }

    pub(in super::super) async fn task(&self, id: i64) -> Result<Option<Task>, StoreError> {
        self.run(Operation::Select, "tasks", move |db| {
            db.prepare_cached(&format!("SELECT {TASK} FROM tasks WHERE id = ?1"))?.query_row([id], task).optional()
        })
        .await
    }

    /// Up to `limit` tasks of a project, by number, from the first one after `after`.
    pub(in super::super) async fn tasks_after(
        &self,
        project: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.run(Operation::Select, "tasks", move |db| {
            db.prepare_cached(&format!(
                "SELECT {TASK} FROM tasks WHERE project_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
            ))?
            .query_map((project, after, limit), task)?
            .collect()
        })
        .await
    }

    /// Completes a task. `None`: the task does not exist, or was completed before.
    /// `committed` hears of it even when the caller has gone away by then.
    pub(in super::super) async fn complete_task<F>(&self, id: i64, committed: F) -> Result<Option<Task>, StoreError>
    where
        F: FnOnce(&Task) + Send + 'static,
    {
        self.run(Operation::Update, "tasks", move |db| {
            db.prepare_cached(&format!(
                "UPDATE tasks SET completed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
                 WHERE id = ?1 AND completed_at IS NULL RETURNING {TASK}"
            ))?
            .query_row([id], task)
            .inspect(committed)
            .optional()
        })
        .await
    }
}

fn project(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: row.get(0)?,
        owner_id: row.get(1)?,
        name: row.get(2)?,
        kind: row.get(3)?,
        created_at: row.get(4)?,
        open_tasks: row.get(5)?,
        completed_tasks: row.get(6)?,
    })
}

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: row.get(0)?,
        project_id: row.get(1)?,
        title: row.get(2)?,
        created_at: row.get(3)?,
        completed_at: row.get(4)?,
        open_seconds: row.get(5)?,
    })
}
