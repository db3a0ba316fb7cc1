//! What every handler shares, and the table of addresses.

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use steeple::{Steeple, events::Events, serve::Shutdown};
use tokio::sync::broadcast;

use super::{
    admin,
    api::{self, ApiError},
    cache::Cache,
    grpc, lab, load,
    measured::Measured,
    page, session,
    store::{Project, Store, StoreError, Task},
};

/// Projects kept in memory.
const CACHED_PROJECTS: usize = 1_024;
/// Changes that a slow watcher may lag behind before it misses some.
const CHANGES: usize = 256;

/// The service's state: database, cache, changes as they happen. Cheap to clone; every clone is the same service.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    projects: Cache<Project>,
    changes: broadcast::Sender<Change>,
    shutdown: Shutdown,
    measured: Measured,
}

/// A task was created or completed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Created(Task),
    Completed(Task),
}

impl App {
    /// Opens the database at `path`, or a temporary one that is removed with the last clone of the app.
    ///
    /// Blocks for some milliseconds: call it before serving.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a database.
    pub fn open(path: Option<&Path>) -> Result<Self, StoreError> {
        let measured = Measured::default();
        Ok(Self(Arc::new(Inner {
            store: Store::open(path, measured.clone())?,
            projects: Cache::new(CACHED_PROJECTS, measured.clone()),
            changes: broadcast::Sender::new(CHANGES),
            shutdown: Shutdown::default(),
            measured,
        })))
    }

    /// From now on queries and the cache are counted in this Steeple's metrics, what users do is tracked as its events, and
    /// the runtime that this is called on is shown. Until then, and without, nothing of it is counted.
    pub fn measure(&self, steeple: &Steeple) {
        self.0.measured.begin(steeple);
    }

    /// The switch that ends every endless stream; begin it when the service is to end, or they hold up the end.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Asks the database whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn projects(&self) -> &Cache<Project> {
        &self.0.projects
    }

    /// What users do goes here.
    pub(super) fn events(&self) -> Events {
        self.0.measured.events()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Makes a change of a task known: to the cache, which forgets the project, and to everyone who watches.
    pub(super) fn announce(&self, change: Change) {
        let (Change::Created(task) | Change::Completed(task)) = &change;
        self.0.projects.forget(task.project_id);
        // An error means that the receiver is gone.
        self.0.changes.send(change).ok();
    }
}

/// Every address of the service but health and metrics, which are for operators.
///
/// Besides the API there is `/lab`, to see every way in which a request can end. All parameters are bounded.
///
/// | address | ends |
/// | --- | --- |
/// | `/lab/slow?ms=` | completed, later (0 to 30000, default 1000): time to hang up before the response head |
/// | `/lab/fail` | 500, with an error that has two sources |
/// | `/lab/panic?after=` | panics in the handler, or in the body after so many frames (1 to 10000) |
/// | `/lab/stream?frames=&gap_ms=` | completed after many frames (0 to 10000, default 10; gap 0 to 5000, default 10) |
/// | `/lab/body-error?after=` | the body fails after so many frames (0 to 10000, default 3) |
/// | `/lab/status/{code}` | that status, 200 to 599 |
/// | `/lab/echo` | whatever was sent, frame by frame, up to 16 MiB |
/// | `/lab/sse?events=&gap_ms=` | server-sent events (0 to 10000, default 10; gap 0 to 5000, default 100) |
/// | `/lab/upgrade` | 101 to the protocol `echo`: every byte comes back until the client closes |
///
/// Three more are for this machine alone, and answer 403 to everyone else. They answer at once; what they do goes on, all
/// requests together at most 4 threads and 1024 MiB:
///
/// | address | does |
/// | --- | --- |
/// | `/lab/burn-cpu?cores=&ms=` | uses processor time (1 to 4 cores, default 1; up to 60000 ms, default 1000) |
/// | `/lab/hold-memory?mib=&ms=` | holds memory (up to 1024 MiB, default 64; up to 120000 ms, default 1000) |
/// | `/lab/payment?ok=&fail=` | tracks payments (0 to 1000 each; by default, one that failed) |
pub fn router(app: App) -> Router {
    // Neither asks for a session. A user with a session is named when something fails.
    let open = Router::new()
        .nest("/lab", lab::routes().merge(load::routes()))
        .route_service(grpc::PATH, grpc::service(app.clone()))
        .route_layer(from_fn_with_state(app.clone(), session::tell_if_known));
    Router::new()
        .nest("/api", api::routes())
        .route("/board/{id}", get(page::show))
        .nest_service("/admin", admin::routes(app.clone()))
        .merge(open)
        .fallback(not_found)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(app)
}

/// Speaks the client's protocol even where there is nothing: gRPC clients get UNIMPLEMENTED.
pub(super) async fn not_found(request: Request) -> Response {
    if grpc::is_grpc(request.headers()) {
        return grpc::unimplemented();
    }
    ApiError::not_found("there is nothing at this address").into_response()
}
