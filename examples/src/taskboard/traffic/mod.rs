//! Requests that the service sends itself, through the socket, as strangers would: every address, every ending, both
//! protocols, and clients that hang up.
//!
//! It counts what it sent and what it saw ([`Tally`]), to be held against what the service's own metrics say.

mod client;
mod plan;
mod tally;
mod world;

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};

pub use self::tally::{Protocol, Row, Seen, Tally};
use self::{client::Client, world::World};

/// Requests in flight at a time; more are held back and counted.
const MAX_IN_FLIGHT: usize = 512;
/// How long requests may still take once the traffic has been told to stop.
///
/// Longer than the client's patience, so that every request is counted.
const DRAIN: Duration = Duration::from_secs(15);

/// Sends `rate` requests a second to `address` until `stop` is ready, lets open ones finish, and says what it saw.
///
/// Before the first tick it sends some requests to have users, a project and tasks; they are counted, too.
pub async fn run(address: SocketAddr, rate: NonZeroU32, stop: impl Future<Output = ()>) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let world = Arc::new(World::default());
    let client = Client::new(reachable(address));
    let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut open = JoinSet::new();
    for (work, protocol) in plan::BEGINNING {
        let row = client.perform(work, *protocol, &world).await;
        lock(&tally).count(row);
    }
    let send = async {
        let period = Duration::from_secs(1).checked_div(rate.get()).unwrap_or(Duration::from_secs(1));
        let mut ticks = tokio::time::interval(period);
        let mut deck = plan::Deck::default();
        loop {
            ticks.tick().await;
            while open.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                lock(&tally).hold_back();
                continue;
            };
            let (client, world, tally) = (client.clone(), Arc::clone(&world), Arc::clone(&tally));
            let (work, protocol) = deck.draw();
            open.spawn(async move {
                let row = client.perform(work, protocol, &world).await;
                lock(&tally).count(row);
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = send => (),
        () = stop => (),
    }
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests of the traffic were still open at the end");
    }
    lock(&tally).clone()
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address to connect to: a listener on every interface is reached through the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    address
}

#[cfg(test)]
mod tests {
    use steeple::Steeple;
    use tokio::net::TcpListener;

    use super::{
        super::{App, router, watch},
        plan::{Manner, Work},
        *,
    };

    /// What the client must see of it.
    fn ends_with(work: &Work, row: &Row) -> Seen {
        match work {
            Work::Http(http) => match http.manner {
                Manner::Read if row.route == "/lab/panic" && row.status.is_none() => Seen::NoAnswer,
                Manner::Read if ["/lab/panic", "/lab/body-error"].contains(&row.route) => Seen::BrokenBody,
                Manner::Read => Seen::Completed,
                Manner::LeaveBeforeHead(_) => Seen::Cancelled,
                Manner::LeaveInBody(_) => Seen::CancelledInBody,
                Manner::Upgrade => Seen::Upgraded,
            },
            Work::LeaveWatch { .. } => Seen::CancelledInBody,
            Work::GetTask(_) | Work::WatchTasks { .. } | Work::UnknownCall => Seen::Completed,
        }
    }

    #[tokio::test]
    async fn every_kind_of_request_ends_as_planned() {
        let app = App::open(None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let steeple = watch(&app, Steeple::builder().without_log_setup()).build().unwrap();
        let (stop, routes) = (app.shutdown().clone(), router(app).merge(steeple.routes()).layer(steeple.layer()));
        let end = stop.clone();
        let serving =
            tokio::spawn(async move { steeple.serve_until(listener, routes, async move { end.begun().await }).await });

        let world = World::default();
        for (work, protocol) in plan::BEGINNING {
            let (row, _) = client.perform(work, *protocol, &world).await;
            assert_eq!((row.status, row.seen), (Some(201), Seen::Completed), "{row:?}");
        }
        for (_, work) in plan::PLAN {
            for protocol in plan::protocols(work) {
                let (row, _) = client.perform(work, *protocol, &world).await;
                assert_eq!(row.seen, ends_with(work, &row), "{row:?}");
                assert!(row.status != Some(500) || row.route.starts_with("/lab/"), "{row:?}");
                let asked = match work {
                    Work::GetTask(code) => Some(code.unwrap_or(0)),
                    Work::WatchTasks { code, .. } => Some(*code),
                    Work::UnknownCall => Some(12),
                    Work::Http(_) | Work::LeaveWatch { .. } => None,
                };
                assert_eq!(row.grpc, asked, "{row:?}");
            }
        }
        stop.begin();
        serving.await.unwrap().unwrap();
    }
}
