use std::{
    fmt, panic,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use http::StatusCode;
use steeple_core::clock;

use super::{
    check::{Blocking, exact, expect, flush_in_a_panic_hook, later, settled},
    receiver::{HANG, Received, Receiver, Reply},
    sabotage::{Hook, Sabotaged},
};
use crate::{
    DropReason, Endpoint, Exporter, Health, InDoubt, Pipeline, PipelineBuilder, Retry, Sink, Unauthorized, flush_all,
    shutdown_all,
};

/// What a receiver does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// Takes it.
    Accepts,
    /// Takes it, but not before [`ExporterReceiver::release`].
    Holds,
    /// Answers nothing.
    Hangs,
    /// Closes the connection in place of an answer.
    Breaks,
    /// Wants it later.
    Defers,
    /// Will never take it.
    Refuses,
    /// Takes nothing from this sender, for now.
    Forbids,
}

/// The turns of a receiver, and how many messages have come. For receivers that are a type of the exporter's own: a writer, a
/// transport.
pub struct Script {
    turn: Box<dyn Fn(usize) -> Turn + Send + Sync>,
    seen: AtomicUsize,
    is_released: Mutex<bool>,
    released: Condvar,
}

impl Script {
    /// Asks this at each message, by its number from 0.
    pub fn new(turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Self {
        Self { turn, seen: AtomicUsize::new(0), is_released: Mutex::new(false), released: Condvar::new() }
    }

    /// Counts a message. Returns its turn.
    pub fn next(&self) -> Turn {
        (self.turn)(self.seen.fetch_add(1, Ordering::SeqCst))
    }

    /// How many messages have come.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Blocks the thread until [`release`](Self::release), for messages that are [held](Turn::Holds).
    pub fn wait(&self) {
        let is_released = self.is_released.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(is_released, |is_released| !*is_released));
    }

    /// Releases all that wait, from now on.
    pub fn release(&self) {
        *self.is_released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.notify_all();
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// A receiver of an [`ExporterSubject`].
pub trait ExporterReceiver: Send + Sync {
    /// How many messages have come.
    fn seen(&self) -> usize;

    /// Releases [held](Turn::Holds) messages.
    fn release(&self);
}

impl ExporterReceiver for Arc<Script> {
    fn seen(&self) -> usize {
        Script::seen(self)
    }

    fn release(&self) {
        Script::release(self);
    }
}

/// A receiver over HTTP, for an exporter that sends several requests a batch: some of them are messages and have turns, the others are
/// answered with 200.
#[derive(Debug)]
pub struct ScriptedReceiver {
    receiver: Receiver,
    script: Arc<Script>,
}

impl ScriptedReceiver {
    /// Starts one. `is_message` picks the requests that have turns, which `accepts` accepts.
    pub fn start(
        turn: Box<dyn Fn(usize) -> Turn + Send + Sync>,
        is_message: fn(&Received) -> bool,
        accepts: &Reply,
    ) -> Self {
        let script = Arc::new(Script::new(turn));
        let (asked, accepts) = (Arc::clone(&script), accepts.clone());
        let receiver = Receiver::start(move |received, _| {
            if !is_message(received) {
                return Reply::ok("{}");
            }
            match asked.next() {
                Turn::Accepts => accepts.clone(),
                Turn::Holds => Reply::Held(Box::new(accepts.clone())),
                Turn::Hangs => Reply::Hang,
                Turn::Breaks => Reply::Reset,
                Turn::Defers => Reply::status(StatusCode::SERVICE_UNAVAILABLE),
                Turn::Refuses => Reply::status(StatusCode::BAD_REQUEST),
                Turn::Forbids => Reply::status(StatusCode::UNAUTHORIZED),
            }
        });
        Self { receiver, script }
    }

    /// Its URL.
    pub fn endpoint(&self) -> Endpoint {
        self.receiver.endpoint()
    }
}

impl ExporterReceiver for ScriptedReceiver {
    fn seen(&self) -> usize {
        self.script.seen()
    }

    fn release(&self) {
        self.receiver.release();
    }
}

/// An exporter that does not speak HTTP, to be tested: with its own receiver, on loopback.
pub trait ExporterSubject: Send + Sync + 'static {
    /// The exporter.
    type Exporter: Exporter;
    /// The receiver, for as long as it lives.
    type Receiver: ExporterReceiver;

    /// The most items of one batch. Default: any number.
    const BATCH: usize = usize::MAX;

    /// What its receivers can do. Default: everything. Scenarios without a turn are left out, so that a receiver that cannot ask for
    /// a later attempt has none of these. It can accept at least.
    const TURNS: &'static [Turn] =
        &[Turn::Accepts, Turn::Holds, Turn::Hangs, Turn::Breaks, Turn::Defers, Turn::Refuses, Turn::Forbids];

    /// Whether its pipeline has its own thread, because it may block. Default: no.
    const BLOCKS: bool = false;

    /// Starts a receiver, which asks what to do with each message, by its number from 0.
    fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Self::Receiver;

    /// Makes the exporter, for a receiver.
    fn exporter(&self, receiver: &Self::Receiver) -> Self::Exporter;

    /// Makes an item: every item of one size, and one message of the receiver's.
    fn item(&self, number: usize) -> <Self::Exporter as Exporter>::Item;
}

type Item<S> = <<S as ExporterSubject>::Exporter as Exporter>::Item;

/// Runs every scenario of [`check_all`](super::check_all) that is not about HTTP.
///
/// # Panics
/// When one of them fails.
pub fn check_exporter<S: ExporterSubject>(subject: S) {
    let rig = Rig(Arc::new(subject));
    rig.full_in_items();
    rig.full_in_bytes();
    rig.hung();
    rig.broken_and_back();
    rig.deferred_and_refused();
    rig.forbidden();
    rig.panics_in_each_hook();
    rig.panics_in_the_factory();
    rig.blocked_neighbour();
    rig.flushed_from_anywhere();
    rig.shut_down();
    rig.many_threads();
}

struct Rig<S>(Arc<S>);

impl<S: ExporterSubject> Rig<S> {
    /// Short intervals, and batches that leave when they are flushed.
    fn quick(name: &'static str) -> PipelineBuilder {
        Pipeline::builder(name)
            .batch_items(S::BATCH.min(512))
            .batch_delay(Duration::from_secs(3600))
            .timeout(HANG)
            .retry(Retry::new().max_age(HANG).base(Duration::from_millis(1)).cap(Duration::from_millis(5)))
    }

    fn can(turn: Turn) -> bool {
        S::TURNS.contains(&turn)
    }

    /// Those of these turns that the receiver can do.
    fn of_these(turns: &[Turn]) -> Vec<Turn> {
        turns.iter().copied().filter(|turn| Self::can(*turn)).collect()
    }

    /// A receiver that does this, one after the other, and accepts what comes after.
    fn scripted(&self, turns: impl Into<Vec<Turn>>) -> Arc<S::Receiver> {
        let turns = turns.into();
        Arc::new(self.0.receiver(Box::new(move |number| turns.get(number).copied().unwrap_or(Turn::Accepts))))
    }

    fn start(&self, builder: PipelineBuilder, receiver: &Arc<S::Receiver>) -> Pipeline<Item<S>> {
        let (subject, receiver) = (Arc::clone(&self.0), Arc::clone(receiver));
        let builder = if S::BLOCKS { builder.own_thread() } else { builder };
        builder.build(move || Ok(subject.exporter(&receiver))).unwrap()
    }

    fn push(&self, pipeline: &Pipeline<Item<S>>, items: usize) {
        for number in 0..items {
            pipeline.push(self.0.item(number));
        }
    }

    fn wait_for(receiver: &S::Receiver, messages: usize) {
        let deadline = later();
        while receiver.seen() < messages {
            assert!(clock::now() < deadline, "{} of {messages} messages", receiver.seen());
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn full_in_items(&self) {
        let holds = Self::can(Turn::Holds);
        let receiver = self.scripted(Self::of_these(&[Turn::Holds; 8]));
        let builder = Self::quick("full in items").max_items(8);
        let builder = if holds { builder.batch_items(S::BATCH.min(4)) } else { builder };
        let pipeline = self.start(builder, &receiver);
        self.push(&pipeline, 20);
        if holds {
            Self::wait_for(&receiver, 1);
        }
        self.push(&pipeline, 5);
        let stats = exact(&pipeline);
        assert_eq!(
            (stats.queued_items, stats.dropped(DropReason::QueueFull)),
            (8, 17),
            "those being sent count as well"
        );
        receiver.release();
        expect(&settled(&pipeline), 8, &[(DropReason::QueueFull, 17)]);
    }

    fn full_in_bytes(&self) {
        let size = S::Exporter::size(&self.0.item(0));
        assert!(size > 0, "an item has a size");
        let receiver = self.scripted(Self::of_these(&[Turn::Holds; 3]));
        let pipeline = self.start(Self::quick("full in bytes").max_bytes(size * 3 + size / 2), &receiver);
        self.push(&pipeline, 7);
        assert_eq!(exact(&pipeline).queued_bytes, (size * 3) as u64);
        receiver.release();
        expect(&settled(&pipeline), 3, &[(DropReason::QueueFull, 4)]);
        assert_eq!(pipeline.stats().queued_bytes, 0);
        let tiny = self.start(Self::quick("tiny").max_bytes(size - 1), &receiver);
        self.push(&tiny, 2);
        expect(&settled(&tiny), 0, &[(DropReason::TooLarge, 2)]);
    }

    fn hung(&self) {
        if !Self::can(Turn::Hangs) {
            return;
        }
        let receiver = Arc::new(self.0.receiver(Box::new(|_| Turn::Hangs)));
        let builder = || Self::quick("hung").timeout(Duration::from_millis(50));
        let twice = Retry::new().max_attempts(2).base(Duration::from_millis(1));
        let pipeline = self.start(builder().retry(twice), &receiver);
        self.push(&pipeline, 3);
        assert_eq!((settled(&pipeline).exported, pipeline.stats().dropped_total()), (0, 3));
        assert!(matches!(pipeline.stats().health, Health::Failing(_)), "{:?}", pipeline.stats());
        let once = self.start(builder().in_doubt(InDoubt::Drop), &receiver);
        self.push(&once, 3);
        expect(&settled(&once), 0, &[(DropReason::InDoubt, 3)]);
        // Nothing is left of it when a shutdown ends, and nothing is hidden.
        let left = self.start(Self::quick("hung at the end"), &receiver);
        self.push(&left, 3);
        let report = left.shutdown(clock::now() + Duration::from_millis(50));
        assert_eq!((report.exported, report.dropped, report.left), (0, 0, 3));
        assert_eq!(exact(&left).queued_items, 3);
    }

    fn broken_and_back(&self) {
        let turns = Self::of_these(&[Turn::Breaks, Turn::Defers, Turn::Breaks]);
        let attempts = turns.len() + 1;
        let receiver = self.scripted(turns);
        let pipeline = self.start(Self::quick("broken"), &receiver);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 1, &[]);
        assert_eq!((receiver.seen(), pipeline.stats().health), (attempts, Health::Ok));
    }

    fn deferred_and_refused(&self) {
        if let Some(later) = Self::of_these(&[Turn::Defers, Turn::Breaks]).first() {
            let receiver = self.scripted([*later; 3]);
            let three = Retry::new().max_attempts(3).base(Duration::ZERO);
            let pipeline = self.start(Self::quick("deferred").retry(three), &receiver);
            self.push(&pipeline, 1);
            let stats = settled(&pipeline);
            assert_eq!((stats.exported, stats.dropped_total(), receiver.seen()), (0, 1, 3), "{stats:?}");
        }
        if !Self::can(Turn::Refuses) {
            return;
        }
        let receiver = self.scripted([Turn::Refuses]);
        let pipeline = self.start(Self::quick("refused"), &receiver);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 0, &[(DropReason::Rejected, 1)]);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 1, &[(DropReason::Rejected, 1)]);
        assert_eq!(receiver.seen(), 2, "rejected items are not sent again");
    }

    fn forbidden(&self) {
        if !Self::can(Turn::Forbids) {
            return;
        }
        let receiver = self.scripted([Turn::Forbids]);
        let pipeline = self.start(Self::quick("forbidden"), &receiver);
        self.push(&pipeline, 1);
        let stats = settled(&pipeline);
        expect(&stats, 0, &[(DropReason::Unauthorized, 1)]);
        assert!(matches!(stats.health, Health::Paused(_)), "{stats:?}");
        let receiver = self.scripted([Turn::Forbids; 3]);
        let kept = self.start(Self::quick("kept").unauthorized(Unauthorized::Keep), &receiver);
        self.push(&kept, 1);
        expect(&settled(&kept), 1, &[]);
        assert_eq!((receiver.seen(), kept.stats().health), (4, Health::Ok));
    }

    /// A pipeline one hook of whose exporter panics once, and how often the exporter was made.
    fn sabotaged(&self, hook: Hook, receiver: &Arc<S::Receiver>) -> (Pipeline<Item<S>>, Arc<AtomicU32>) {
        let (subject, receiver) = (Arc::clone(&self.0), Arc::clone(receiver));
        let (left, made) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&made);
        let factory = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Sabotaged { inner: subject.exporter(&receiver), hook, left: Arc::clone(&left) })
        };
        let builder = Self::quick("sabotaged");
        // A flush collects what a tick makes, which is not counted here.
        let builder = if matches!(hook, Hook::Tick) { builder.tick(Duration::from_secs(3600)) } else { builder };
        let builder = if S::BLOCKS { builder.own_thread() } else { builder };
        (builder.build(factory).unwrap(), made)
    }

    fn panics_in_each_hook(&self) {
        let receiver = self.scripted([]);
        for hook in [Hook::Scrub, Hook::Admit, Hook::Prepare, Hook::Export, Hook::Conclude] {
            let (pipeline, made) = self.sabotaged(hook, &receiver);
            self.push(&pipeline, 3);
            let stats = settled(&pipeline);
            let lost = if hook == Hook::Scrub { 1 } else { S::BATCH.min(3) as u64 };
            expect(&stats, 3 - lost, &[(DropReason::Panicked, lost)]);
            self.push(&pipeline, 3);
            expect(&settled(&pipeline), 6 - lost, &[(DropReason::Panicked, lost)]);
            assert!(made.load(Ordering::Relaxed) >= 2, "{hook:?}: the exporter is made again");
        }
        for hook in [Hook::Tick, Hook::Stored] {
            let (pipeline, _) = self.sabotaged(hook, &receiver);
            self.push(&pipeline, 3);
            expect(&settled(&pipeline), 3, &[]);
        }
        if Self::can(Turn::Refuses) {
            let refusing = self.scripted([Turn::Refuses; 3]);
            let (pipeline, _) = self.sabotaged(Hook::Dropped, &refusing);
            self.push(&pipeline, 3);
            expect(&settled(&pipeline), 0, &[(DropReason::Rejected, 3)]);
        }
        let (pipeline, _) = self.sabotaged(Hook::Drop, &receiver);
        self.push(&pipeline, 3);
        assert_eq!(pipeline.shutdown(later()).left, 0);
        assert_eq!(exact(&pipeline).exported, 3);
    }

    fn panics_in_the_factory(&self) {
        let receiver = self.scripted([]);
        let (subject, to) = (Arc::clone(&self.0), Arc::clone(&receiver));
        let (calls, left) = (AtomicU32::new(0), Arc::new(AtomicU32::new(1)));
        let factory = move || match calls.fetch_add(1, Ordering::Relaxed) {
            // The first lets a hook panic; then the factory itself fails in both ways, and recovers.
            0 | 3.. => Ok(Sabotaged { inner: subject.exporter(&to), hook: Hook::Export, left: Arc::clone(&left) }),
            1 => panic!("sabotage of the factory"),
            2 => Err("the factory is closed".into()),
        };
        let builder = Self::quick("factory");
        let builder = if S::BLOCKS { builder.own_thread() } else { builder };
        let pipeline = builder.build(factory).unwrap();
        for _ in 0..4 {
            self.push(&pipeline, 1);
            settled(&pipeline);
        }
        expect(&exact(&pipeline), 1, &[(DropReason::Panicked, 1), (DropReason::Internal, 2)]);
    }

    fn blocked_neighbour(&self) {
        let free = Arc::new((Mutex::new(false), Condvar::new()));
        let exporter = Arc::clone(&free);
        let blocking = Pipeline::<()>::builder("blocking").batch_delay(Duration::from_secs(3600)).timeout(HANG);
        let blocking = blocking.own_thread().build(move || Ok(Blocking(Arc::clone(&exporter)))).unwrap();
        blocking.push("one".to_owned());
        let flush = blocking.begin_flush(later());
        let receiver = self.scripted([]);
        let pipeline = self.start(Self::quick("neighbour"), &receiver);
        self.push(&pipeline, 3);
        expect(&settled(&pipeline), 3, &[]);
        assert_eq!(blocking.stats().queued_items, 1, "still blocked");
        *free.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        free.1.notify_all();
        assert!(blocking.wait(&flush).is_complete());
        let own = self.start(Self::quick("own").own_thread(), &receiver);
        self.push(&own, 3);
        assert!(own.shutdown(later()).is_complete());
        expect(&exact(&own), 3, &[]);
    }

    fn flushed_from_anywhere(&self) {
        let receiver = self.scripted([]);
        let pipeline = self.start(Self::quick("flushed"), &receiver);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 1, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        self.push(&pipeline, 1);
        runtime.block_on(async { expect(&settled(&pipeline), 2, &[]) });
        self.push(&pipeline, 1);
        flush_in_a_panic_hook(&pipeline);
        expect(&exact(&pipeline), 3, &[]);
        // Several, under one deadline.
        let other = self.start(Self::quick("flushed too"), &receiver);
        let sinks: [Arc<dyn Sink>; 2] = [Arc::new(pipeline.clone()), Arc::new(other.clone())];
        self.push(&pipeline, 2);
        self.push(&other, 2);
        assert!(flush_all(&sinks, later()).iter().all(crate::FlushReport::is_complete));
        expect(&exact(&pipeline), 5, &[]);
        self.push(&other, 1);
        assert!(shutdown_all(&sinks, later()).iter().all(crate::FlushReport::is_complete));
        expect(&exact(&other), 3, &[]);
    }

    fn shut_down(&self) {
        let receiver = self.scripted([]);
        let pipeline = self.start(Self::quick("shut down"), &receiver);
        self.push(&pipeline, 2);
        assert!(pipeline.shutdown(later()).is_complete());
        self.push(&pipeline, 2);
        expect(&exact(&pipeline), 2, &[(DropReason::Shutdown, 2)]);
        // The last handle goes: queued items are still sent.
        let forgotten = self.start(Self::quick("forgotten"), &receiver);
        self.push(&forgotten, 1);
        let before = receiver.seen();
        drop(forgotten);
        Self::wait_for(&receiver, before + 1);
    }

    fn many_threads(&self) {
        const THREADS: usize = 4;
        const EACH: usize = 100;
        let turns = Self::of_these(&[Turn::Defers, Turn::Accepts, Turn::Refuses]);
        let receiver = Arc::new(self.0.receiver(Box::new(move |number| turns[number % turns.len()])));
        let builder = Self::quick("many").batch_delay(Duration::ZERO).max_items(64).batch_items(S::BATCH.min(16));
        let pipeline = self.start(builder, &receiver);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    self.push(&pipeline, EACH);
                    exact(&pipeline);
                });
            }
        });
        assert_eq!(settled(&pipeline).accepted, (THREADS * EACH) as u64);
    }
}
