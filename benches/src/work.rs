//! Work that is not one of the tables' requests: a job, an event that is tracked, a request that fails.

use std::{error::Error, io, time::Duration};

use axum::{Router, body::Body, extract::Path, http::StatusCode, routing::get};
use http::Request;
use steeple_core::{Exchange, Job, ObserveLayer};
use steeple_sentry::Sentry;

use crate::{
    rows,
    stacks::{self, Everything},
    tracking,
    workload::{App, BROWSER, answer, block_on, request},
};

/// One kind of work.
#[derive(Clone, Copy)]
pub struct Work {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// The work that it is compared with.
    pub over: Option<&'static str>,
    /// How many are done before what they left behind is waited for.
    pub times: usize,
    start: fn() -> Started,
}

/// Work that has been set up, or why it cannot be.
pub type Started = Result<Box<dyn Running>, Box<dyn Error>>;

/// Work that has been set up.
pub trait Running {
    /// What is not measured and comes before [`run`](Self::run).
    fn prepare(&mut self, _times: usize) {}

    /// Does it so many times.
    fn run(&mut self, times: usize);

    /// Waits for other threads to finish what this has left them, so that the next round finds empty queues.
    fn settle(&mut self) {}
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Work {
    /// Sets it up.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn start(&self) -> Started {
        (self.start)()
    }
}

/// A future that nothing watches.
pub const FUTURE: &str = "a future";
/// The same as a job, watched by everything.
pub const JOB: &str = "job, everything";
/// A request that is answered, watched by everything.
pub const SUCCEEDS: &str = "a request that succeeds, everything";
/// The same request where the handler records an error and answers 502: a line of level `error`, and an event for Sentry.
pub const FAILS: &str = "a request that fails, everything";

/// All of them, each behind what it is compared with.
pub fn works() -> Vec<Work> {
    let mut works = vec![
        Work { name: FUTURE, over: None, times: 64, start: || Ok(Box::new(Jobs(None))) },
        Work { name: JOB, over: Some(FUTURE), times: 64, start: || Ok(Box::new(Jobs(Some(watched())))) },
        Work { name: SUCCEEDS, over: None, times: 16, start: || Ok(Box::new(Requests::new("/pay/ok/7"))) },
        Work { name: FAILS, over: Some(SUCCEEDS), times: 16, start: || Ok(Box::new(Requests::new("/pay/fails/7"))) },
    ];
    works.extend(tracking::works());
    works
}

/// The work of this name.
pub fn find(name: &str) -> Option<Work> {
    works().into_iter().find(|work| work.name == name)
}

impl Work {
    pub(crate) const fn tracking(name: &'static str, start: fn() -> Started) -> Self {
        Self { name, over: None, times: 64, start }
    }
}

fn watched() -> ObserveLayer<Everything> {
    ObserveLayer::new(stacks::everything())
}

/// Jobs, or futures that nothing watches.
struct Jobs(Option<ObserveLayer<Everything>>);

impl Running for Jobs {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            job(self.0.as_ref());
        }
    }
}

fn job(layer: Option<&ObserveLayer<Everything>>) {
    let work = async { Ok::<_, io::Error>(std::hint::black_box(17)) };
    let done = match layer {
        Some(layer) => block_on(layer.job(Job::new("nightly import"), work)),
        None => block_on(work),
    };
    let _its_value = std::hint::black_box(done);
}

/// Requests with a browser's headers to a service that everything watches.
struct Requests {
    app: App,
    sentry: Sentry,
    path: &'static str,
    ready: Vec<Request<Body>>,
}

impl Requests {
    fn new(path: &'static str) -> Self {
        let mut everything = stacks::everything();
        // The others' has their events to count.
        let sentry = stacks::new_errors();
        everything.4 = Some(sentry.clone());
        let service = Router::new()
            .route("/pay/ok/{id}", get(|Path(id): Path<u64>| async move { id.to_string() }))
            .route("/pay/fails/{id}", get(fails));
        Self { app: rows::app(stacks::watched(service, everything)), sentry, path, ready: Vec::new() }
    }
}

async fn fails(Path(_id): Path<u64>) -> StatusCode {
    if let Some(exchange) = Exchange::current() {
        exchange.record_error(&io::Error::other("the payment service did not answer"));
    }
    StatusCode::BAD_GATEWAY
}

impl Running for Requests {
    fn prepare(&mut self, times: usize) {
        let one = |number: usize| request("GET", self.path, Body::empty(), &BROWSER, number % 10 == 3);
        self.ready = (0..times).map(one).collect();
    }

    fn run(&mut self, _times: usize) {
        for request in std::mem::take(&mut self.ready) {
            answer(&mut self.app, request);
        }
    }

    fn settle(&mut self) {
        assert!(self.sentry.flush(Duration::from_mins(1)), "the transport takes what it gets");
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILS, Requests, Running, SUCCEEDS, find, works};

    #[test]
    fn what_a_work_is_compared_with_comes_before_it() {
        let works = works();
        for (place, work) in works.iter().enumerate() {
            let before = works.iter().take(place).map(|work| work.name);
            assert!(work.over.is_none_or(|over| before.clone().any(|name| name == over)), "{work:?}");
        }
    }

    #[test]
    fn a_request_that_fails_is_an_event_of_its_own_and_one_that_succeeds_is_none() {
        let events = |path: &'static str, name: &str| {
            let mut requests = Requests::new(path);
            let times = find(name).unwrap().times;
            requests.prepare(times);
            requests.run(times);
            requests.settle();
            (requests.sentry.counts().events, times as u64)
        };
        assert_eq!(events("/pay/ok/7", SUCCEEDS).0, 0);
        let (events, times) = events("/pay/fails/7", FAILS);
        assert_eq!(events, times);
    }
}
