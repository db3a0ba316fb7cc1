//! The database of the plain build: tables in memory, which end with the process. Nothing has to be compiled for it.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use steeple::{Exchange, core::date, trace::Segments};

use super::{
    super::measured::Measured,
    Operation, StoreError,
    model::{NewUser, Payment, Project, Task, User, UserSummary},
};

/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(in super::super) struct Store {
    tables: Mutex<Tables>,
    measured: Measured,
}

/// Rows by their numbers, from 1 on, and what is looked up otherwise.
#[derive(Debug, Default)]
struct Tables {
    users: Vec<UserRow>,
    /// Numbers of users by their e-mail addresses, which have no case.
    by_email: HashMap<String, i64>,
    /// Users by the SHA-256 of their tokens, and when the session ends.
    sessions: BTreeMap<[u8; 32], (i64, SystemTime)>,
    projects: Vec<ProjectRow>,
    tasks: Vec<TaskRow>,
    payments: i64,
}

#[derive(Debug)]
struct UserRow {
    user: User,
    projects: i64,
    open_tasks: i64,
}

#[derive(Debug)]
struct ProjectRow {
    project: Project,
    /// The numbers of its tasks, ascending.
    tasks: Vec<i64>,
}

#[derive(Debug)]
struct TaskRow {
    task: Task,
    created_by: i64,
    created: SystemTime,
}

/// The number of the next row.
fn next<T>(rows: &[T]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX).saturating_add(1)
}

/// Where the row of a number is.
fn place(id: i64) -> usize {
    usize::try_from(id).ok().and_then(|id| id.checked_sub(1)).unwrap_or(usize::MAX)
}

fn text(at: SystemTime) -> String {
    date::rfc3339_millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn change(count: &mut i64, by: i64) {
    *count = count.saturating_add(by);
}

impl Tables {
    /// Counts a task as open or, with -1, as no longer open.
    fn count_open(&mut self, project: i64, user: i64, by: i64) {
        if let Some(row) = self.projects.get_mut(place(project)) {
            change(&mut row.project.open_tasks, by);
        }
        if let Some(row) = self.users.get_mut(place(user)) {
            change(&mut row.open_tasks, by);
        }
    }
}

impl Store {
    pub(in super::super) fn open(path: Option<&Path>, measured: Measured) -> Result<Self, StoreError> {
        match path {
            Some(path) => Err(StoreError::no_files(path.to_owned())),
            None => Ok(Self { tables: Mutex::default(), measured }),
        }
    }

    /// Runs one statement, as a span below the request's and in the query metrics.
    async fn run<T, F>(&self, operation: Operation, table: &'static str, query: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Tables) -> Result<T, StoreError>,
    {
        let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
        let name = format!("{} {table}", operation.as_str());
        let work = async {
            let _timer = self.measured.query(operation.as_str(), table);
            query(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
        };
        exchange.try_segment("db", name, work).with("db.system.name", "memory").await
    }

    pub(in super::super) async fn ping(&self) -> Result<(), StoreError> {
        self.run(Operation::Select, "users", |_| Ok(())).await
    }

    pub(in super::super) async fn insert_user(&self, new: NewUser) -> Result<User, StoreError> {
        self.run(Operation::Insert, "users", |tables| {
            let NewUser { email, name, source } = new;
            let key = email.to_ascii_lowercase();
            if tables.by_email.contains_key(&key) {
                return Err(StoreError::taken("users"));
            }
            let (id, source) = (next(&tables.users), source.to_owned());
            let user = User { id, email, name, source, created_at: text(SystemTime::now()) };
            tables.users.push(UserRow { user: user.clone(), projects: 0, open_tasks: 0 });
            tables.by_email.insert(key, id);
            Ok(user)
        })
        .await
    }

    pub(in super::super) async fn user_by_email(&self, email: String) -> Result<Option<i64>, StoreError> {
        self.run(Operation::Select, "users", |tables| Ok(tables.by_email.get(&email.to_ascii_lowercase()).copied()))
            .await
    }

    pub(in super::super) async fn user_summary(&self, id: i64) -> Result<Option<UserSummary>, StoreError> {
        self.run(Operation::Select, "users", |tables| {
            let summary = |row: &UserRow| UserSummary {
                id,
                name: row.user.name.clone(),
                source: row.user.source.clone(),
                created_at: row.user.created_at.clone(),
                projects: row.projects,
                open_tasks: row.open_tasks,
            };
            Ok(tables.users.get(place(id)).map(summary))
        })
        .await
    }

    /// Inserts a session and says when it ends.
    pub(in super::super) async fn insert_session(
        &self,
        token_hash: [u8; 32],
        user: i64,
        _method: &'static str,
    ) -> Result<String, StoreError> {
        self.run(Operation::Insert, "sessions", |tables| {
            let now = SystemTime::now();
            let ends = now.checked_add(SESSION).unwrap_or(now);
            tables.sessions.insert(token_hash, (user, ends));
            Ok(text(ends))
        })
        .await
    }

    /// The user of a session that has not ended.
    pub(in super::super) async fn session_user(&self, token_hash: [u8; 32]) -> Result<Option<i64>, StoreError> {
        self.run(Operation::Select, "sessions", |tables| {
            let session = tables.sessions.get(&token_hash).filter(|(_, ends)| *ends > SystemTime::now());
            Ok(session.map(|(user, _)| *user))
        })
        .await
    }

    /// Deletes sessions that have ended and says how many.
    pub(in super::super) async fn delete_ended_sessions(&self) -> Result<usize, StoreError> {
        self.run(Operation::Delete, "sessions", |tables| {
            let (before, now) = (tables.sessions.len(), SystemTime::now());
            tables.sessions.retain(|_, (_, ends)| *ends > now);
            Ok(before.saturating_sub(tables.sessions.len()))
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
        self.run(Operation::Insert, "projects", |tables| {
            let project = Project {
                id: next(&tables.projects),
                owner_id: owner,
                name,
                kind: kind.to_owned(),
                created_at: text(SystemTime::now()),
                open_tasks: 0,
                completed_tasks: 0,
            };
            tables.projects.push(ProjectRow { project: project.clone(), tasks: Vec::new() });
            if let Some(row) = tables.users.get_mut(place(owner)) {
                change(&mut row.projects, 1);
            }
            Ok(project)
        })
        .await
    }

    pub(in super::super) async fn project(&self, id: i64) -> Result<Option<Project>, StoreError> {
        self.run(Operation::Select, "projects", |tables| {
            Ok(tables.projects.get(place(id)).map(|row| row.project.clone()))
        })
        .await
    }

    pub(in super::super) async fn insert_payment(
        &self,
        _user: i64,
        plan: &'static str,
        minor_units: i64,
        currency: &'static str,
    ) -> Result<Payment, StoreError> {
        self.run(Operation::Insert, "payments", |tables| {
            change(&mut tables.payments, 1);
            Ok(Payment { id: tables.payments, plan, minor_units, currency })
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
        self.run(Operation::Insert, "tasks", |tables| {
            let created = SystemTime::now();
            let (id, created_at) = (next(&tables.tasks), text(created));
            let task = Task { id, project_id: project, title, created_at, completed_at: None, open_seconds: None };
            tables.tasks.push(TaskRow { task: task.clone(), created_by: user, created });
            if let Some(row) = tables.projects.get_mut(place(project)) {
                row.tasks.push(id);
            }
            tables.count_open(project, user, 1);
            committed(&task);
            Ok(task)
        })
        .await
    }

    pub(in super::super) async fn task(&self, id: i64) -> Result<Option<Task>, StoreError> {
        self.run(Operation::Select, "tasks", |tables| Ok(tables.tasks.get(place(id)).map(|row| row.task.clone()))).await
    }

    /// Up to `limit` tasks of a project, by number, from the first one after `after`.
    pub(in super::super) async fn tasks_after(
        &self,
        project: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.run(Operation::Select, "tasks", |tables| {
            let Some(row) = tables.projects.get(place(project)) else { return Ok(Vec::new()) };
            let later = row.tasks.iter().skip(row.tasks.partition_point(|id| *id <= after));
            let tasks = later.filter_map(|id| tables.tasks.get(place(*id))).map(|row| row.task.clone());
            Ok(tasks.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
        })
        .await
    }

    /// Completes a task. `None`: the task does not exist, or was completed before.
    /// `committed` hears of it even when the caller has gone away by then.
    pub(in super::super) async fn complete_task<F>(&self, id: i64, committed: F) -> Result<Option<Task>, StoreError>
    where
        F: FnOnce(&Task) + Send + 'static,
    {
        self.run(Operation::Update, "tasks", |tables| {
            let Some(row) = tables.tasks.get_mut(place(id)).filter(|row| row.task.completed_at.is_none()) else {
                return Ok(None);
            };
            let now = SystemTime::now();
            let open = now.duration_since(row.created).unwrap_or_default().as_secs_f64();
            row.task.completed_at = Some(text(now));
            row.task.open_seconds = Some((open * 1000.0).round() / 1000.0);
            let (task, user) = (row.task.clone(), row.created_by);
            tables.count_open(task.project_id, user, -1);
            if let Some(row) = tables.projects.get_mut(place(task.project_id)) {
                change(&mut row.project.completed_tasks, 1);
            }
            committed(&task);
            Ok(Some(task))
        })
        .await
    }
}
