//! `Exchange::current()`: right under interleaving, on any runtime and on none.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use steeple_core::{Exchange, ObserveLayer, test_util::RecordingObserver};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};

use crate::replay::{Replay, check_laws};

type Checking = BoxCloneSyncService<Request<Empty<Bytes>>, Response<UnsyncBoxBody<Bytes, String>>, String>;
type Incoming = Request<Empty<Bytes>>;

/// Gives way to whatever else is ready, on any executor.
async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|cx| {
        if gave {
            return Poll::Ready(());
        }
        gave = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[track_caller]
fn assert_current(own: &Exchange) {
    assert!(Exchange::current().expect("an exchange is current while it is polled").is_same(own));
}

/// A service that checks, at each of its polls and of its body's, that the current exchange is the request's own.
fn checking(observer: RecordingObserver) -> Checking {
    let checks = tower::service_fn(|request: Incoming| {
        let own = request.extensions().get::<Exchange>().unwrap().clone();
        assert_current(&own); // in `call`
        async move {
            for _ in 0..5 {
                assert_current(&own);
                give_way().await;
            }
            let frames = stream::iter(0..5).then(move |_| {
                let own = own.clone();
                async move {
                    assert_current(&own);
                    give_way().await;
                    assert_current(&own);
                    Ok::<_, String>(Frame::data(Bytes::from_static(b"x")))
                }
            });
            Ok::<_, String>(Response::new(StreamBody::new(Box::pin(frames))))
        }
    });
    let watched = ObserveLayer::new(observer).layer(checks);
    BoxCloneSyncService::new(watched.map_response(|response| response.map(BodyExt::boxed_unsync)))
}

/// Sends a request and reads the answer, giving way between the frames, where nothing is current.
async fn exchange_one(observer: RecordingObserver) {
    let response = checking(observer.clone()).oneshot(Replay::default().request()).await.unwrap();
    let mut body = pin!(response.into_body());
    while let Some(frame) = body.frame().await {
        assert!(frame.unwrap().is_data());
        assert!(Exchange::current().is_none(), "between polls nothing is current");
        give_way().await;
    }
}

fn check_all(observer: &RecordingObserver, want: usize) {
    assert_eq!(observer.ended().len(), want);
    check_laws(observer);
}

#[tokio::test]
async fn interleaved_exchanges_see_themselves_on_one_thread() {
    let observer = RecordingObserver::new();
    let all = (0..64).map(|_| tokio::spawn(exchange_one(observer.clone())));
    join_all(all.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    check_all(&observer, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn interleaved_exchanges_see_themselves_on_many_threads() {
    let observer = RecordingObserver::new();
    let all = (0..256).map(|_| tokio::spawn(exchange_one(observer.clone())));
    join_all(all.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    check_all(&observer, 256);
}

#[tokio::test]
async fn exchanges_joined_into_one_task_see_themselves() {
    let observer = RecordingObserver::new();
    join_all((0..16).map(|_| exchange_one(observer.clone()))).await;
    check_all(&observer, 16);
}

/// The smallest executor there is: polls one future on this thread, sleeps until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn exchanges_see_themselves_without_a_runtime() {
    let observer = RecordingObserver::new();
    block_on(join_all((0..16).map(|_| exchange_one(observer.clone()))));
    check_all(&observer, 16);
}

#[test]
fn an_exchange_that_moves_between_threads_sees_itself_on_each() {
    let observer = RecordingObserver::new();
    let mut future = Box::pin(checking(observer.clone()).oneshot(Replay::default().request()));
    let response = loop {
        // Each poll on a new thread.
        let (back, polled) = thread::spawn(move || {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(Exchange::current().is_none());
            (future, polled)
        })
        .join()
        .unwrap();
        future = back;
        if let Poll::Ready(response) = polled {
            break response.unwrap();
        }
    };
    block_on(response.into_body().collect()).unwrap();
    check_all(&observer, 1);
}

#[test]
fn a_service_called_inside_another_is_current_until_it_returns() {
    let (outer, inner) = (RecordingObserver::new(), RecordingObserver::new());
    let calls = {
        let inner = inner.clone();
        tower::service_fn(move |request: Incoming| {
            let (own, inner) = (request.extensions().get::<Exchange>().unwrap().clone(), inner.clone());
            async move {
                exchange_one_inside(&own, inner).await;
                assert_current(&own);
                Ok::<_, String>(Response::new(Empty::<Bytes>::new()))
            }
        })
    };
    let service = ObserveLayer::new(outer.clone()).layer(calls);
    block_on(service.oneshot(Replay::default().request())).unwrap();
    check_all(&outer, 1);
    check_all(&inner, 1);
}

/// Like [`exchange_one`], from within another exchange: that one is current between the polls.
async fn exchange_one_inside(outer: &Exchange, observer: RecordingObserver) {
    let response = checking(observer.clone()).oneshot(Replay::default().request()).await.unwrap();
    assert_current(outer);
    let mut body = pin!(response.into_body());
    while let Some(frame) = body.frame().await {
        assert!(frame.is_ok());
        assert_current(outer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_task_sees_the_exchange_in_scope_and_none_without() {
    let observer = RecordingObserver::new();
    let spawns = tower::service_fn(|request: Incoming| {
        let own = request.extensions().get::<Exchange>().unwrap().clone();
        async move {
            let lost = tokio::spawn(async { Exchange::current().is_none() });
            let kept = tokio::spawn(own.clone().scope({
                let own = own.clone();
                async move {
                    for _ in 0..10 {
                        assert_current(&own);
                        tokio::task::yield_now().await;
                    }
                }
            }));
            let blocking = tokio::task::spawn_blocking({
                let own = own.clone();
                move || own.in_scope(|| Exchange::current().is_some_and(|current| current.is_same(&own)))
            });
            kept.await.unwrap();
            assert!(lost.await.unwrap() && blocking.await.unwrap());
            Ok::<_, String>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let service = ObserveLayer::new(observer.clone()).layer(spawns);
    service.oneshot(Replay::default().request()).await.unwrap();
    check_all(&observer, 1);
}

#[test]
fn a_handlers_scope_of_another_exchange_gives_way_to_its_own_again() {
    let observer = RecordingObserver::new();
    let scopes = tower::service_fn(|request: Incoming| {
        let own = request.extensions().get::<Exchange>().unwrap().clone();
        async move {
            let other = Exchange::detached();
            let inside = other.clone();
            other
                .scope(async move {
                    assert_current(&inside);
                    give_way().await;
                    assert_current(&inside);
                })
                .await;
            assert_current(&own);
            Ok::<_, String>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let service = ObserveLayer::new(observer.clone()).layer(scopes);
    block_on(service.oneshot(Replay::default().request())).unwrap();
    check_all(&observer, 1);
}

#[test]
fn nothing_is_current_outside_and_asking_does_no_harm() {
    assert!(Exchange::current().is_none());
    assert!(async { Exchange::current() }.now_or_never().unwrap().is_none());
}

/// Asks for the current exchange while its thread ends.
struct AsksAtTheEnd;

impl Drop for AsksAtTheEnd {
    fn drop(&mut self) {
        assert!(Exchange::current().is_none());
        Exchange::detached().in_scope(|| ());
    }
}

#[test]
fn a_thread_that_is_ending_may_ask() {
    // Its locals go one by one, in an order that depends on who came first.
    thread_local!(static LATE: AsksAtTheEnd = const { AsksAtTheEnd });
    let asked_first = thread::spawn(|| {
        LATE.with(|_| ());
        Exchange::detached().in_scope(|| ());
    });
    let asked_last = thread::spawn(|| {
        Exchange::detached().in_scope(|| ());
        LATE.with(|_| ());
    });
    asked_first.join().unwrap();
    asked_last.join().unwrap();
}
