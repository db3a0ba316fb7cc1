//! A task board: REST and gRPC on one port, users, sessions, projects and tasks in `SQLite`, a cache in front of it.
//!
//! Nothing in here watches requests. A program opens an [`App`], makes its [`router`], puts on it what layers it likes,
//! and [`serve`]s it:
//!
//! ```no_run
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use steeple_examples::taskboard::{App, health, router, serve};
//!
//! let app = App::open(None)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let stop = app.shutdown().clone();
//! serve(listener, router(app.clone()).merge(health::routes(app)), stop).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | address | answers |
//! | --- | --- |
//! | `POST /api/users` `{email,name,source}` | 201 and the user, 409 when the e-mail address is taken |
//! | `POST /api/sessions` `{email,method}` | 201 and a bearer token for 24 hours, 401 for a stranger |
//! | `POST /api/projects` `{name,type}` (token) | 201 and the project |
//! | `GET /api/projects/{id}` | the project with its counts of tasks |
//! | `POST /api/projects/{id}/tasks` `{title}` (token) | 201 and the task |
//! | `POST /api/tasks/{id}/complete` (token) | the task, 409 when it was done already |
//! | `GET /api/projects/{id}/export` | the tasks, one JSON line each |
//! | `GET /admin/users/{id}` | the user with counts, for an operator |
//! | `GET /healthz`, `GET /readyz` | 200, or 503 when the database does not answer |
//! | `/lab/…` | every way in which a request can end, see [`router`] |
//! | gRPC `taskboard.v1.TaskBoard` | `GetTask`, `WatchTasks` |

mod admin;
mod api;
mod app;
mod cache;
pub mod cli;
mod grpc;
pub mod health;
mod lab;
mod serve;
mod session;
mod shutdown;
mod store;
pub mod traffic;

pub use self::{
    api::Cause,
    app::{App, router},
    grpc::proto,
    serve::serve,
    shutdown::{Shutdown, signal as shutdown_signal},
    store::StoreError,
};
