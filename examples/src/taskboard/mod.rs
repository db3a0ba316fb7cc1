//! A task board: REST and gRPC on one port, users, sessions, projects and tasks in a database, a cache in front of it.
//!
//! A program opens an [`App`], tells Steeple what only the board knows ([`watch`]), puts the layer on the [`router`] and
//! serves it. Inside, three places speak to the exchange: a session tells the user, an answer of 500 tells the error,
//! and the inner router of `/admin` tells its routes.
//!
//! What users do is tracked as events: every preset of `steeple::events` is tracked by the handler that does it.
//!
//! The database is in memory; with the feature `full` it is SQLite. With that feature and `SENTRY_DSN` in the environment its failures are events in Sentry; with `OTEL_EXPORTER_OTLP_ENDPOINT` its requests
//! are traces, and the database's queries are spans below them.
//!
//! ```no_run
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use steeple::Steeple;
//! use steeple_examples::taskboard::{App, router, watch};
//!
//! let app = App::open(None)?;
//! let steeple = watch(&app, Steeple::builder_from_env()?).build()?;
//! app.measure(&steeple);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let app = router(app).merge(steeple.routes()).layer(steeple.layer());
//! steeple.serve(listener, app).await?;
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
//! | `POST /api/payments` `{plan,currency,card}` (token) | 201 and the payment, 402 when the card is `declined` |
//! | `POST /api/feedback` `{topic,stars}` | 202 |
//! | `GET /board/{id}` | the project as a page |
//! | `GET /admin/users/{id}` | the user with counts, for an operator |
//! | `GET /metrics` | what Prometheus scrapes |
//! | `GET /healthz`, `GET /readyz` | 200, or 503 when the database does not answer |
//! | `/lab/…` | every way in which a request can end, see [`router`] |
//! | gRPC `taskboard.v1.TaskBoard` | `GetTask`, `WatchTasks` |

mod admin;
mod api;
mod app;
mod cache;
pub mod cli;
mod grpc;
mod lab;
mod load;
mod measured;
mod page;
mod scratch;
mod session;
mod store;
pub mod traffic;
mod watch;

pub use self::{
    app::{App, router},
    grpc::proto,
    scratch::Scratch,
    store::StoreError,
    watch::{configure, watch},
};
