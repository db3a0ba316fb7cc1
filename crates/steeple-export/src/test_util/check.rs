use std::{
    panic,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use steeple_core::clock;
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    receiver::{HANG, Receiver, Reply},
    sabotage::{Hook, Sabotaged},
};
use crate::{
    Answer, Client, DropReason, Endpoint, Exporter, Health, Http, InDoubt, Pipeline, PipelineBuilder, Protocol, Retry,
    Sink, Stats, Unauthorized, flush_all, shutdown_all,
};

/// A protocol to be tested.
pub trait Subject: Send + Sync + 'static {
    /// The protocol.
    type Protocol: Protocol;

    /// Whether a batch that the receiver answers with 429 is tried again. Default: yes.
    const RETRIES_LIMITED: bool = true;

    /// The most items of one request. Default: any number.
    const BATCH: usize = usize::MAX;

    /// Makes it, for a receiver.
    fn protocol(&self, endpoint: Endpoint) -> Self::Protocol;

    /// Makes an item: every item of one size, and whatever it takes to be sent as one item of a batch.
    fn item(&self, number: usize) -> <Self::Protocol as Protocol>::Item;

    /// The answer by which the receiver accepts a batch. Default: 200 without a body.
    fn accepts(&self) -> Reply {
        Reply::ok("")
    }

    /// An answer with different verdicts on the items of a batch of four. Default: the receiver has none.
    fn partial(&self) -> Option<Partial> {
        None
    }
}

/// An answer with different verdicts on four items.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The answer.
    pub reply: Reply,
    /// How many of the four are stored by it.
    pub stored: u64,
    /// How many are refused for good; the rest is to be sent again, and is accepted then.
    pub poisoned: u64,
}

type Item<S> = <<S as Subject>::Protocol as Protocol>::Item;

/// Runs every scenario for a protocol.
///
/// # Panics
/// When one of them fails.
pub fn check_all<S: Subject>(subject: S) {
    let subject = Arc::new(subject);
    full_in_items(&subject);
    full_in_bytes(&subject);
    hung(&subject);
    reset_and_back(&subject);
    retry_after_in_both_forms(&subject);
    split_down_to_one(&subject);
    partial_answers(&subject);
    redirects(&subject);
    unauthorized(&subject);
    panics_in_each_hook(&subject);
    panics_in_the_factory(&subject);
    blocked_neighbour(&subject);
    flushed_from_anywhere(&subject);
    shut_down(&subject);
    many_threads(&subject);
}

/// Short intervals, and batches that leave when they are flushed.
fn quick<S: Subject>(name: &'static str) -> PipelineBuilder {
    Pipeline::builder(name)
        .batch_items(up_to::<S>(512))
        .batch_delay(Duration::from_secs(3600))
        .timeout(HANG)
        .retry(Retry::new().max_age(HANG).base(Duration::from_millis(1)).cap(Duration::from_millis(5)))
}

/// At most this many items, and no more than one request takes.
const fn up_to<S: Subject>(items: usize) -> usize {
    if S::BATCH < items { S::BATCH } else { items }
}

fn within<S: Subject>(builder: PipelineBuilder, items: usize) -> PipelineBuilder {
    builder.batch_items(up_to::<S>(items))
}

fn start<S: Subject>(subject: &Arc<S>, builder: PipelineBuilder, receiver: &Receiver) -> Pipeline<Item<S>> {
    let (subject, endpoint) = (Arc::clone(subject), receiver.endpoint());
    let client = Client::builder().build().unwrap();
    builder.build(move || Ok(Http::new(client.clone(), subject.protocol(endpoint.clone())))).unwrap()
}

/// A receiver that answers with these replies, one after the other, and accepts what comes after.
fn scripted<S: Subject>(subject: &Arc<S>, replies: Vec<Reply>) -> Receiver {
    let subject = Arc::clone(subject);
    Receiver::start(move |_, number| replies.get(number).cloned().unwrap_or_else(|| subject.accepts()))
}

fn push<S: Subject>(subject: &Arc<S>, pipeline: &Pipeline<Item<S>>, items: usize) {
    for number in 0..items {
        pipeline.push(subject.item(number));
    }
}

pub(super) fn later() -> Instant {
    clock::now().checked_add(HANG).unwrap()
}

pub(super) fn settled<T: Send>(pipeline: &Pipeline<T>) -> Stats {
    let report = pipeline.flush(later());
    assert_eq!(report.left, 0, "{}: settled in time: {:?}", pipeline.name(), pipeline.stats());
    exact(pipeline)
}

pub(super) fn exact<T: Send>(pipeline: &Pipeline<T>) -> Stats {
    let stats = pipeline.stats();
    let counted = stats.exported + stats.dropped_total() + stats.queued_items;
    assert_eq!(stats.accepted, counted, "{}: every item is in one count: {stats:?}", pipeline.name());
    stats
}

#[track_caller]
pub(super) fn expect(stats: &Stats, exported: u64, dropped: &[(DropReason, u64)]) {
    assert_eq!(stats.exported, exported, "{stats:?}");
    assert_eq!(stats.dropped_total(), dropped.iter().map(|(_, items)| items).sum::<u64>(), "{stats:?}");
    for (reason, items) in dropped {
        assert_eq!(stats.dropped(*reason), *items, "{reason}: {stats:?}");
    }
}

fn full_in_items<S: Subject>(subject: &Arc<S>) {
    let held = Reply::Held(Box::new(subject.accepts()));
    let receiver = scripted(subject, vec![held; 8]);
    let builder = within::<S>(quick::<S>("full in items").max_items(8).in_doubt(InDoubt::Resend), 4);
    let pipeline = start(subject, builder, &receiver);
    push(subject, &pipeline, 20);
    receiver.wait_for(1);
    push(subject, &pipeline, 5);
    let stats = exact(&pipeline);
    assert_eq!((stats.queued_items, stats.dropped(DropReason::QueueFull)), (8, 17), "those being sent count as well");
    receiver.release();
    expect(&settled(&pipeline), 8, &[(DropReason::QueueFull, 17)]);
}

fn full_in_bytes<S: Subject>(subject: &Arc<S>) {
    let size = S::Protocol::size(&subject.item(0));
    assert!(size > 0, "an item has a size");
    // Where a request has one item, the first leaves at once: it is not answered before all are counted.
    let receiver = scripted(subject, vec![Reply::Held(Box::new(subject.accepts())); 3]);
    let pipeline = start(subject, quick::<S>("full in bytes").max_bytes(size * 3 + size / 2), &receiver);
    push(subject, &pipeline, 7);
    let stats = exact(&pipeline);
    assert_eq!(stats.queued_bytes, (size * 3) as u64);
    receiver.release();
    expect(&settled(&pipeline), 3, &[(DropReason::QueueFull, 4)]);
    assert_eq!(pipeline.stats().queued_bytes, 0);
    let tiny = start(subject, quick::<S>("tiny").max_bytes(size - 1), &receiver);
    push(subject, &tiny, 2);
    expect(&settled(&tiny), 0, &[(DropReason::TooLarge, 2)]);
}

fn hung<S: Subject>(subject: &Arc<S>) {
    let receiver = Receiver::start(|_, _| Reply::Hang);
    let retry = Retry::new().max_attempts(2).base(Duration::from_millis(1));
    let builder = || quick::<S>("hung").timeout(Duration::from_millis(20));
    let pipeline = start(subject, builder().retry(retry), &receiver);
    push(subject, &pipeline, 3);
    expect(&settled(&pipeline), 0, &[(DropReason::Network, 3)]);
    assert!(matches!(pipeline.stats().health, Health::Failing(_)), "{:?}", pipeline.stats());
    let once = start(subject, builder().in_doubt(InDoubt::Drop), &receiver);
    push(subject, &once, 3);
    expect(&settled(&once), 0, &[(DropReason::InDoubt, 3)]);
    // Nothing is left of it when a shutdown ends, and nothing is hidden.
    let left = start(subject, quick::<S>("hung at the end"), &receiver);
    push(subject, &left, 3);
    let report = left.shutdown(clock::now().checked_add(Duration::from_millis(50)).unwrap());
    assert_eq!((report.exported, report.dropped, report.left), (0, 0, 3));
    assert_eq!(exact(&left).queued_items, 3);
}

fn reset_and_back<S: Subject>(subject: &Arc<S>) {
    let bad = StatusCode::BAD_GATEWAY;
    let receiver = scripted(subject, vec![Reply::Reset, Reply::Half, Reply::status(bad), Reply::Reset]);
    let pipeline = start(subject, quick::<S>("reset"), &receiver);
    let items = up_to::<S>(3);
    push(subject, &pipeline, items);
    expect(&settled(&pipeline), items as u64, &[]);
    let requests = receiver.wait_for(5);
    assert!(requests.iter().all(|request| request.body == requests[0].body), "each attempt sends the same");
    assert_eq!(pipeline.stats().health, Health::Ok);
    // A port where nothing listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", free.local_addr().unwrap())).unwrap();
    drop(free);
    let (made, client) = (Arc::clone(subject), Client::builder().build().unwrap());
    let gone = quick::<S>("gone").retry(Retry::new().max_attempts(3).base(Duration::from_millis(1)));
    let gone = gone.build(move || Ok(Http::new(client.clone(), made.protocol(endpoint.clone())))).unwrap();
    push(subject, &gone, 2);
    expect(&settled(&gone), 0, &[(DropReason::Network, 2)]);
}

fn retry_after_in_both_forms<S: Subject>(subject: &Arc<S>) {
    const AT_MOST: Duration = Duration::from_millis(60);
    let items = up_to::<S>(2);
    if !S::RETRIES_LIMITED {
        let always = Receiver::start(|_, _| Reply::status(StatusCode::TOO_MANY_REQUESTS).with("retry-after", "0"));
        let pipeline = start(subject, quick::<S>("limited"), &always);
        push(subject, &pipeline, items);
        return expect(&settled(&pipeline), 0, &[(DropReason::RateLimited, items as u64)]);
    }
    let tomorrow = SystemTime::now().checked_add(Duration::from_secs(24 * 3600)).unwrap();
    for value in ["30".to_owned(), httpdate::fmt_http_date(tomorrow), "99999999999999999999".to_owned()] {
        let limited = Reply::status(StatusCode::TOO_MANY_REQUESTS).with("retry-after", value);
        let receiver = scripted(subject, vec![limited]);
        let retry = Retry::new().base(Duration::ZERO).max_retry_after(AT_MOST);
        let pipeline = start(subject, quick::<S>("limited").retry(retry), &receiver);
        push(subject, &pipeline, items);
        let _begun = pipeline.begin_flush(later());
        receiver.wait_for(1);
        // A flush does not shorten it.
        expect(&settled(&pipeline), items as u64, &[]);
        let requests = receiver.wait_for(2);
        let waited = requests[1].at.saturating_duration_since(requests[0].at);
        assert!(waited >= AT_MOST, "{waited:?}");
    }
    let always = Receiver::start(|_, _| Reply::status(StatusCode::TOO_MANY_REQUESTS).with("retry-after", "0"));
    let pipeline =
        start(subject, quick::<S>("limited").retry(Retry::new().max_attempts(3).base(Duration::ZERO)), &always);
    push(subject, &pipeline, items);
    expect(&settled(&pipeline), 0, &[(DropReason::RateLimited, items as u64)]);
    assert_eq!(always.received().len(), 3);
}

fn split_down_to_one<S: Subject>(subject: &Arc<S>) {
    let too_large = || Reply::status(StatusCode::PAYLOAD_TOO_LARGE);
    if S::BATCH == 1 {
        let receiver = scripted(subject, vec![too_large()]);
        let pipeline = start(subject, quick::<S>("too large"), &receiver);
        push(subject, &pipeline, 1);
        expect(&settled(&pipeline), 0, &[(DropReason::TooLarge, 1)]);
        assert_eq!(receiver.received().len(), 1);
        return;
    }
    let ok = || subject.accepts();
    let receiver = scripted(subject, vec![too_large(), too_large(), ok(), ok(), too_large(), ok(), too_large()]);
    let pipeline = start(subject, quick::<S>("split"), &receiver);
    push(subject, &pipeline, 4);
    expect(&settled(&pipeline), 3, &[(DropReason::TooLarge, 1)]);
    assert_eq!(receiver.received().len(), 7, "no loop");
}

fn partial_answers<S: Subject>(subject: &Arc<S>) {
    let Some(partial) = subject.partial() else { return };
    let receiver = scripted(subject, vec![partial.reply]);
    let pipeline = start(subject, quick::<S>("partial"), &receiver);
    push(subject, &pipeline, 4);
    expect(&settled(&pipeline), 4 - partial.poisoned, &[(DropReason::Rejected, partial.poisoned)]);
    let has_rest = partial.stored + partial.poisoned < 4;
    assert_eq!(receiver.received().len(), 1 + usize::from(has_rest), "stored items are not sent again");
}

fn redirects<S: Subject>(subject: &Arc<S>) {
    let elsewhere = Receiver::accepting();
    for status in [301, 302, 303, 307, 308] {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply::status(status).with("location", elsewhere.endpoint().uri().to_string());
        let receiver = Receiver::start(move |_, _| reply.clone());
        let pipeline = start(subject, quick::<S>("redirected"), &receiver);
        push(subject, &pipeline, up_to::<S>(2));
        expect(&settled(&pipeline), 0, &[(DropReason::Rejected, up_to::<S>(2) as u64)]);
        assert_eq!(receiver.received().len(), 1);
    }
    assert!(elsewhere.received().is_empty());
}

fn unauthorized<S: Subject>(subject: &Arc<S>) {
    let receiver = scripted(subject, vec![Reply::status(StatusCode::UNAUTHORIZED)]);
    let pipeline = start(subject, quick::<S>("unauthorized"), &receiver);
    push(subject, &pipeline, up_to::<S>(2));
    let stats = settled(&pipeline);
    // A protocol may know better what such an answer means.
    if matches!(stats.health, Health::Paused(_)) {
        expect(&stats, 0, &[(DropReason::Unauthorized, up_to::<S>(2) as u64)]);
        let receiver = scripted(subject, vec![Reply::status(StatusCode::UNAUTHORIZED); 3]);
        let kept = start(subject, quick::<S>("kept").unauthorized(Unauthorized::Keep), &receiver);
        push(subject, &kept, up_to::<S>(2));
        expect(&settled(&kept), up_to::<S>(2) as u64, &[]);
        assert_eq!((receiver.received().len(), kept.stats().health), (4, Health::Ok));
    }
}

fn panics_in_each_hook<S: Subject>(subject: &Arc<S>) {
    let sabotage = |hook, receiver: &Receiver, builder: PipelineBuilder| {
        let (subject, endpoint) = (Arc::clone(subject), receiver.endpoint());
        let client = Client::builder().build().unwrap();
        let left = Arc::new(AtomicU32::new(1));
        let made = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&made);
        let factory = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let inner = subject.protocol(endpoint.clone());
            Ok(Http::new(client.clone(), Sabotaged { inner, hook, left: Arc::clone(&left) }))
        };
        (builder.build(factory).unwrap(), made)
    };
    for hook in Hook::COSTLY {
        let receiver = scripted(subject, vec![]);
        let (pipeline, made) = sabotage(hook, &receiver, quick::<S>("sabotaged"));
        push(subject, &pipeline, 3);
        let stats = settled(&pipeline);
        let lost = if hook == Hook::Scrub { 1 } else { up_to::<S>(3) as u64 };
        expect(&stats, 3 - lost, &[(DropReason::Panicked, lost)]);
        push(subject, &pipeline, 3);
        expect(&settled(&pipeline), 6 - lost, &[(DropReason::Panicked, lost)]);
        assert!(made.load(Ordering::Relaxed) >= 2, "{hook:?}: the exporter is made again");
    }
    let receiver = scripted(subject, vec![]);
    let (pipeline, _) = sabotage(Hook::Tick, &receiver, quick::<S>("sabotaged tick").tick(Duration::from_secs(3600)));
    push(subject, &pipeline, 3);
    settled(&pipeline);
    push(subject, &pipeline, 3);
    assert_eq!(settled(&pipeline).dropped_total(), 0);
    let (pipeline, _) = sabotage(Hook::Stored, &receiver, quick::<S>("sabotaged stored"));
    push(subject, &pipeline, 3);
    expect(&settled(&pipeline), 3, &[]);
    let refusing = Receiver::start(|_, _| Reply::status(StatusCode::NOT_IMPLEMENTED));
    let (pipeline, _) = sabotage(Hook::Dropped, &refusing, quick::<S>("sabotaged dropped"));
    push(subject, &pipeline, 3);
    let stats = settled(&pipeline);
    assert_eq!((stats.exported, stats.dropped(DropReason::Panicked)), (0, 0), "{stats:?}");
    let (pipeline, _) = sabotage(Hook::Drop, &receiver, quick::<S>("sabotaged end"));
    push(subject, &pipeline, 3);
    assert_eq!(pipeline.shutdown(later()).left, 0);
    assert_eq!(exact(&pipeline).exported, 3);
}

fn panics_in_the_factory<S: Subject>(subject: &Arc<S>) {
    let receiver = scripted(subject, vec![]);
    let (made, endpoint, client) = (Arc::clone(subject), receiver.endpoint(), Client::builder().build().unwrap());
    let calls = AtomicU32::new(0);
    let left = Arc::new(AtomicU32::new(1));
    let factory = move || match calls.fetch_add(1, Ordering::Relaxed) {
        // The first lets a hook panic; then the factory itself fails in both ways, and recovers.
        0 | 3.. => {
            let inner = made.protocol(endpoint.clone());
            Ok(Http::new(client.clone(), Sabotaged { inner, hook: Hook::Encode, left: Arc::clone(&left) }))
        }
        1 => panic!("sabotage of the factory"),
        2 => Err("the factory is closed".into()),
    };
    let pipeline = quick::<S>("factory").build(factory).unwrap();
    push(subject, &pipeline, 1);
    expect(&settled(&pipeline), 0, &[(DropReason::Panicked, 1)]);
    for _ in 0..3 {
        push(subject, &pipeline, 1);
        settled(&pipeline);
    }
    expect(&exact(&pipeline), 1, &[(DropReason::Panicked, 1), (DropReason::Internal, 2)]);
    let never = Pipeline::builder("never").build(|| -> Result<Http<S::Protocol>, _> { Err("no such exporter".into()) });
    assert!(never.is_err_and(|error| !error.is_thread()));
    let never = Pipeline::builder("never").build(|| -> Result<Http<S::Protocol>, _> { panic!("sabotage") });
    assert!(never.is_err());
}

/// Blocks its thread over each batch until it is let go.
pub(super) struct Blocking(pub(super) Arc<(Mutex<bool>, Condvar)>);

impl Exporter for Blocking {
    type Item = String;
    type Ready = String;

    fn size(item: &String) -> usize {
        item.len()
    }

    fn scrub(&mut self, item: String) -> Scrubbed<String> {
        Scrubber::default().text(&item).into_owned()
    }

    async fn export(&mut self, _batch: &[Scrubbed<String>], _deadline: Instant) -> Answer {
        let (is_free, changed) = &*self.0;
        let is_free = is_free.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(is_free, HANG, |is_free| !*is_free));
        Answer::Accepted
    }
}

fn blocked_neighbour<S: Subject>(subject: &Arc<S>) {
    let free = Arc::new((Mutex::new(false), Condvar::new()));
    let exporter = Arc::clone(&free);
    let blocking = quick::<S>("blocking").own_thread().build(move || Ok(Blocking(Arc::clone(&exporter)))).unwrap();
    blocking.push("one".to_owned());
    let flush = blocking.begin_flush(later());
    let receiver = scripted(subject, vec![]);
    let pipeline = start(subject, quick::<S>("neighbour"), &receiver);
    push(subject, &pipeline, 3);
    expect(&settled(&pipeline), 3, &[]);
    assert_eq!(blocking.stats().queued_items, 1, "still blocked");
    *free.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    free.1.notify_all();
    assert!(blocking.wait(&flush).is_complete());
    // With its own thread, the protocol does all the same.
    let own = start(subject, quick::<S>("own").own_thread(), &receiver);
    push(subject, &own, 3);
    assert!(own.shutdown(later()).is_complete());
    expect(&exact(&own), 3, &[]);
}

/// The panic hook is the process's: one subject at a time has it.
static HOOK: Mutex<()> = Mutex::new(());

/// Flushes from the panic hook of another thread.
pub(super) fn flush_in_a_panic_hook<T: Send + 'static>(pipeline: &Pipeline<T>) {
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, inside) = (Arc::new(panic::take_hook()), pipeline.clone());
    let after = Arc::clone(&before);
    panic::set_hook(Box::new(move |info| {
        if steeple_core::text::panic_message(info) == "flushed from here" {
            inside.flush(later());
        } else {
            before(info);
        }
    }));
    let panicked = thread::spawn(|| panic!("flushed from here")).join();
    assert!(panicked.is_err());
    panic::set_hook(Box::new(move |info| after(info)));
    drop(hook);
}

fn flushed_from_anywhere<S: Subject>(subject: &Arc<S>) {
    let receiver = scripted(subject, vec![]);
    let pipeline = start(subject, quick::<S>("flushed"), &receiver);
    push(subject, &pipeline, 1);
    expect(&settled(&pipeline), 1, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    push(subject, &pipeline, 1);
    runtime.block_on(async { expect(&settled(&pipeline), 2, &[]) });
    push(subject, &pipeline, 1);
    flush_in_a_panic_hook(&pipeline);
    expect(&exact(&pipeline), 3, &[]);
    // Several, under one deadline.
    let other = start(subject, quick::<S>("flushed too"), &receiver);
    let sinks: [Arc<dyn Sink>; 2] = [Arc::new(pipeline.clone()), Arc::new(other.clone())];
    push(subject, &pipeline, 2);
    push(subject, &other, 2);
    let reports = flush_all(&sinks, later());
    assert!(reports.iter().all(crate::FlushReport::is_complete));
    // What leaves before the flush begins is not part of its report.
    assert!(S::BATCH == 1 || reports.iter().all(|report| report.exported == 2));
    expect(&exact(&pipeline), 5, &[]);
    push(subject, &other, 1);
    assert!(shutdown_all(&sinks, later()).iter().all(crate::FlushReport::is_complete));
    expect(&exact(&other), 3, &[]);
}

fn shut_down<S: Subject>(subject: &Arc<S>) {
    let receiver = scripted(subject, vec![]);
    let pipeline = start(subject, quick::<S>("shut down"), &receiver);
    push(subject, &pipeline, 2);
    assert!(pipeline.shutdown(later()).is_complete());
    push(subject, &pipeline, 2);
    expect(&exact(&pipeline), 2, &[(DropReason::Shutdown, 2)]);
    assert_eq!(pipeline.shutdown(later()).left, 0);
    // The last handle is dropped: everything queued is still sent.
    let forgotten = start(subject, quick::<S>("forgotten"), &receiver);
    push(subject, &forgotten, 1);
    let before = receiver.received().len();
    drop(forgotten);
    receiver.wait_for(before + 1);
}

fn many_threads<S: Subject>(subject: &Arc<S>) {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let receiver = {
        let subject = Arc::clone(subject);
        Receiver::start(move |_, number| match number % 3 {
            0 => Reply::status(StatusCode::SERVICE_UNAVAILABLE),
            1 => subject.accepts(),
            _ => Reply::status(StatusCode::PAYLOAD_TOO_LARGE),
        })
    };
    let builder = within::<S>(quick::<S>("many").batch_delay(Duration::ZERO).max_items(256), 64);
    let pipeline = start(subject, builder, &receiver);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                push(subject, &pipeline, EACH);
                exact(&pipeline);
            });
        }
    });
    let stats = settled(&pipeline);
    assert_eq!(stats.accepted, (THREADS * EACH) as u64);
}
