//! What the traffic consists of: each kind of request with its weight.

use serde_json::{Value, json};

use super::{Protocol, world::World};

/// One kind of request.
pub(super) enum Work {
    Http(Http),
    /// `GetTask`, asked to end with this code.
    GetTask(Option<i32>),
    /// `WatchTasks` for so many messages, then this code.
    WatchTasks {
        end_after: u32,
        code: i32,
    },
    /// `WatchTasks` without an end; the client hangs up after so many messages.
    LeaveWatch {
        after: u32,
    },
    /// A method that the service does not have.
    UnknownCall,
}

pub(super) struct Http {
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) draft: fn(&World) -> Draft,
    pub(super) manner: Manner,
    /// What to remember of an answer that tells of something new.
    pub(super) learn: fn(&World, &Value),
}

/// The parts of a request that differ each time.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: Payload,
}

#[derive(Debug, Default)]
pub(super) enum Payload {
    #[default]
    None,
    Json(Value),
    /// Invalid JSON.
    Broken,
    /// So many frames, with pauses.
    Frames(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Reads the answer to its end.
    Read,
    /// Hangs up after so many milliseconds, and an answer takes far longer.
    LeaveBeforeHead(u64),
    /// Hangs up after so many frames of the body.
    LeaveInBody(u32),
    /// Becomes another protocol, over HTTP/1.1 alone.
    Upgrade,
}

/// Sent once, in this order, so that there are users, projects and tasks, and a connection of either kind.
pub(super) const BEGINNING: &[(Work, Protocol)] = &[
    (REGISTER, Protocol::Http1),
    (SIGN_IN, Protocol::Http2),
    (CREATE_PROJECT, Protocol::Http1),
    (CREATE_TASK, Protocol::Http2),
    (CREATE_TASK, Protocol::Http1),
    (CREATE_TASK, Protocol::Http2),
];

/// The kinds of requests in a random order, each as often as its weight before any of them comes again: a short run has every ending
/// as well.
#[derive(Debug, Default)]
pub(super) struct Deck {
    left: Vec<usize>,
}

impl Deck {
    /// The next kind of request, and a protocol for it.
    pub(super) fn draw(&mut self) -> (&'static Work, Protocol) {
        if self.left.is_empty() {
            let each = PLAN.iter().enumerate();
            self.left.extend(each.flat_map(|(place, (weight, _))| (0..*weight).map(move |_| place)));
            fastrand::shuffle(&mut self.left);
        }
        let drawn = self.left.pop().and_then(|place| PLAN.get(place));
        let work = drawn.map_or(&SHOW_PROJECT, |(_, work)| work);
        (work, fastrand::choice(protocols(work)).copied().unwrap_or(Protocol::Http1))
    }
}

/// What a kind of request can go over.
pub(super) fn protocols(work: &Work) -> &'static [Protocol] {
    match work {
        Work::Http(Http { manner: Manner::Upgrade, .. }) => &[Protocol::Http1],
        Work::Http(_) => &[Protocol::Http1, Protocol::Http2],
        Work::GetTask(_) | Work::WatchTasks { .. } | Work::LeaveWatch { .. } | Work::UnknownCall => &[Protocol::Grpc],
    }
}

const REGISTER: Work = post("/api/users", World::learn_user, |_| {
    let source = fastrand::choice(["web", "mobile", "invite"]);
    let email = format!("user-{:016x}@example.com", fastrand::u64(..));
    Draft::json("/api/users", None, json!({ "email": email, "name": "Sam Stranger", "source": source }))
});

const SIGN_IN: Work = post("/api/sessions", World::learn_token, |world| {
    let method = fastrand::choice(["password", "magic_link", "google"]);
    Draft::json("/api/sessions", None, json!({ "email": world.email(), "method": method }))
});

const CREATE_PROJECT: Work = post("/api/projects", World::learn_project, |world| {
    let kind = fastrand::choice(["personal", "team", "client"]);
    Draft::json("/api/projects", world.token(), json!({ "name": "Spring cleaning", "type": kind }))
});

const CREATE_TASK: Work = post("/api/projects/{id}/tasks", World::learn_task, |world| {
    let path = format!("/api/projects/{}/tasks", world.project());
    Draft::json(path, world.token(), json!({ "title": "Sweep the steeple" }))
});

const SHOW_PROJECT: Work = get("/api/projects/{id}", |world| Draft::to(format!("/api/projects/{}", world.project())));

/// Kinds of requests with their weights.
pub(super) static PLAN: &[(u32, Work)] = &[
    // The service's day.
    (30, SHOW_PROJECT),
    (4, REGISTER),
    (6, SIGN_IN),
    (4, CREATE_PROJECT),
    (14, CREATE_TASK),
    (
        10,
        post("/api/tasks/{id}/complete", nothing, |world| Draft {
            token: world.token(),
            ..Draft::to(format!("/api/tasks/{}/complete", world.take_task()))
        }),
    ),
    (5, get("/api/projects/{id}/export", |world| Draft::to(format!("/api/projects/{}/export", world.project())))),
    (3, get("/admin/users/{id}", |world| Draft::to(format!("/admin/users/{}", world.user())))),
    (2, http("HEAD", "/api/projects/{id}", |world| Draft::to(format!("/api/projects/{}", world.project())))),
    (2, get("/healthz", |_| Draft::to("/healthz"))),
    (2, get("/readyz", |_| Draft::to("/readyz"))),
    (10, Work::GetTask(None)),
    (3, Work::WatchTasks { end_after: 3, code: 0 }),
    // Mistakes of clients.
    (1, get("/api/projects/{id}", |_| Draft::to(format!("/api/projects/{}", fastrand::u32(1_000_000..))))),
    (1, get("/api/projects/{id}", |_| Draft::to("/api/projects/first"))),
    (1, post("/api/projects", nothing, |_| Draft::json("/api/projects", None, json!({ "name": "No token" })))),
    (1, post("/api/users", nothing, |_| Draft::json("/api/users", None, json!({ "email": "nobody", "name": "No" })))),
    (1, post("/api/users", nothing, |_| Draft { body: Payload::Broken, ..Draft::to("/api/users") })),
    (1, http("DELETE", "/api/projects/{id}", |world| Draft::to(format!("/api/projects/{}", world.project())))),
    (1, http("BREW", "/api/projects/{id}", |world| Draft::to(format!("/api/projects/{}", world.project())))),
    (2, get("unmatched", |_| Draft::to(format!("/made-up/{:x}", fastrand::u64(..))))),
    (1, Work::UnknownCall),
    // Every ending.
    (2, get("/lab/slow", |_| Draft::to(format!("/lab/slow?ms={}", fastrand::u32(0..300))))),
    (2, leave("/lab/slow", Manner::LeaveBeforeHead(60), |_| Draft::to("/lab/slow?ms=20000"))),
    (2, get("/lab/fail", |_| Draft::to("/lab/fail"))),
    (1, get("/lab/panic", |_| Draft::to("/lab/panic"))),
    (1, get("/lab/panic", |_| Draft::to("/lab/panic?after=2"))),
    (2, get("/lab/stream", |_| Draft::to("/lab/stream?frames=20&gap_ms=5"))),
    (2, leave("/lab/stream", Manner::LeaveInBody(3), |_| Draft::to("/lab/stream?frames=10000&gap_ms=10"))),
    (1, get("/lab/body-error", |_| Draft::to("/lab/body-error?after=2"))),
    (3, get("/lab/status/{code}", |_| Draft::to(format!("/lab/status/{}", fastrand::choice(STATUSES).unwrap_or(200))))),
    (2, http("POST", "/lab/echo", |_| Draft { body: Payload::Frames(4), ..Draft::to("/lab/echo") })),
    (1, get("/lab/sse", |_| Draft::to("/lab/sse?events=3&gap_ms=20"))),
    (1, leave("/lab/sse", Manner::LeaveInBody(2), |_| Draft::to("/lab/sse?events=10000&gap_ms=20"))),
    (1, leave("/lab/upgrade", Manner::Upgrade, |_| Draft::to("/lab/upgrade"))),
    (1, get("/lab/upgrade", |_| Draft::to("/lab/upgrade"))),
    (1, Work::GetTask(Some(5))),
    (1, Work::GetTask(Some(14))),
    (1, Work::WatchTasks { end_after: 2, code: 13 }),
    (1, Work::WatchTasks { end_after: 0, code: 8 }),
    (1, Work::LeaveWatch { after: 2 }),
];

const STATUSES: [u16; 10] = [201, 202, 204, 304, 400, 404, 418, 429, 500, 503];

const fn http(method: &'static str, route: &'static str, draft: fn(&World) -> Draft) -> Work {
    Work::Http(Http { method, route, draft, manner: Manner::Read, learn: nothing })
}

const fn get(route: &'static str, draft: fn(&World) -> Draft) -> Work {
    http("GET", route, draft)
}

const fn post(route: &'static str, learn: fn(&World, &Value), draft: fn(&World) -> Draft) -> Work {
    Work::Http(Http { method: "POST", route, draft, manner: Manner::Read, learn })
}

const fn leave(route: &'static str, manner: Manner, draft: fn(&World) -> Draft) -> Work {
    Work::Http(Http { method: "GET", route, draft, manner, learn: nothing })
}

fn nothing(_: &World, _: &Value) {}

impl Draft {
    fn to(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    fn json(path: impl Into<String>, token: Option<String>, body: Value) -> Self {
        Self { path: path.into(), token, body: Payload::Json(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_as_often_as_its_weight_before_any_comes_again() {
        let mut deck = Deck::default();
        let total: usize = PLAN.iter().map(|(weight, _)| *weight as usize).sum();
        for _ in 0..3 {
            let drawn: Vec<_> = (0..total).map(|_| std::ptr::from_ref(deck.draw().0)).collect();
            for (weight, work) in PLAN {
                let times = drawn.iter().filter(|drawn| **drawn == std::ptr::from_ref(work)).count();
                assert_eq!(times, *weight as usize);
            }
        }
    }
}
