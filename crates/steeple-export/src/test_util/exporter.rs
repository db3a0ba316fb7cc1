use std::{
    panic,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use steeple_core::clock;

use super::{
    check::{Blocking, exact, expect, flush_in_a_panic_hook, later, settled},
    receiver::HANG,
    sabotage::{Hook, Sabotaged},
};
use crate::{
    DropReason, Exporter, Health, InDoubt, Pipeline, PipelineBuilder, Retry, Sink, Unauthorized, flush_all,
    shutdown_all,
};

/// What a receiver does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// Takes it.
    Accepts,
    /// Takes it, but not before [`ExporterSubject::release`].
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

/// An exporter that does not speak HTTP, to be tested: with its own receiver, on loopback.
pub trait ExporterSubject: Send + Sync + 'static {
    /// The exporter.
    type Exporter: Exporter;
    /// The receiver, for as long as it lives.
    type Receiver: Send + Sync;

    /// The most items of one batch. Default: any number.
    const BATCH: usize = usize::MAX;

    /// Starts a receiver, which asks what to do with each message, by its number from 0.
    fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Self::Receiver;

    /// How many messages have come.
    fn seen(&self, receiver: &Self::Receiver) -> usize;

    /// Lets what is [held](Turn::Holds) go.
    fn release(&self, receiver: &Self::Receiver);

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

    /// A receiver that does this, one after the other, and accepts what comes after.
    fn scripted(&self, turns: impl Into<Vec<Turn>>) -> Arc<S::Receiver> {
        let turns = turns.into();
        Arc::new(self.0.receiver(Box::new(move |number| turns.get(number).copied().unwrap_or(Turn::Accepts))))
    }

    fn start(&self, builder: PipelineBuilder, receiver: &Arc<S::Receiver>) -> Pipeline<Item<S>> {
        let (subject, receiver) = (Arc::clone(&self.0), Arc::clone(receiver));
        builder.build(move || Ok(subject.exporter(&receiver))).unwrap()
    }

    fn push(&self, pipeline: &Pipeline<Item<S>>, items: usize) {
        for number in 0..items {
            pipeline.push(self.0.item(number));
        }
    }

    fn wait_for(&self, receiver: &S::Receiver, messages: usize) {
        let deadline = later();
        while self.0.seen(receiver) < messages {
            assert!(clock::now() < deadline, "{} of {messages} messages", self.0.seen(receiver));
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn full_in_items(&self) {
        let receiver = self.scripted([Turn::Holds; 8]);
        let pipeline = self.start(Self::quick("full in items").max_items(8).batch_items(S::BATCH.min(4)), &receiver);
        self.push(&pipeline, 20);
        self.wait_for(&receiver, 1);
        self.push(&pipeline, 5);
        let stats = exact(&pipeline);
        assert_eq!(
            (stats.queued_items, stats.dropped(DropReason::QueueFull)),
            (8, 17),
            "those being sent count as well"
        );
        self.0.release(&receiver);
        expect(&settled(&pipeline), 8, &[(DropReason::QueueFull, 17)]);
    }

    fn full_in_bytes(&self) {
        let size = S::Exporter::size(&self.0.item(0));
        assert!(size > 0, "an item has a size");
        let receiver = self.scripted([Turn::Holds; 3]);
        let pipeline = self.start(Self::quick("full in bytes").max_bytes(size * 3 + size / 2), &receiver);
        self.push(&pipeline, 7);
        assert_eq!(exact(&pipeline).queued_bytes, (size * 3) as u64);
        self.0.release(&receiver);
        expect(&settled(&pipeline), 3, &[(DropReason::QueueFull, 4)]);
        assert_eq!(pipeline.stats().queued_bytes, 0);
        let tiny = self.start(Self::quick("tiny").max_bytes(size - 1), &receiver);
        self.push(&tiny, 2);
        expect(&settled(&tiny), 0, &[(DropReason::TooLarge, 2)]);
    }

    fn hung(&self) {
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
        let receiver = self.scripted([Turn::Breaks, Turn::Defers, Turn::Breaks]);
        let pipeline = self.start(Self::quick("broken"), &receiver);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 1, &[]);
        assert_eq!((self.0.seen(&receiver), pipeline.stats().health), (4, Health::Ok));
    }

    fn deferred_and_refused(&self) {
        let receiver = self.scripted([Turn::Defers; 3]);
        let three = Retry::new().max_attempts(3).base(Duration::ZERO);
        let pipeline = self.start(Self::quick("deferred").retry(three), &receiver);
        self.push(&pipeline, 1);
        let stats = settled(&pipeline);
        assert_eq!((stats.exported, stats.dropped_total(), self.0.seen(&receiver)), (0, 1, 3), "{stats:?}");
        let receiver = self.scripted([Turn::Refuses]);
        let pipeline = self.start(Self::quick("refused"), &receiver);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 0, &[(DropReason::Rejected, 1)]);
        self.push(&pipeline, 1);
        expect(&settled(&pipeline), 1, &[(DropReason::Rejected, 1)]);
        assert_eq!(self.0.seen(&receiver), 2, "what is refused is not sent again");
    }

    fn forbidden(&self) {
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
        assert_eq!((self.0.seen(&receiver), kept.stats().health), (4, Health::Ok));
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
        let builder = Self::quick("sabotaged").tick(Duration::from_secs(3600));
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
        let refusing = self.scripted([Turn::Refuses; 3]);
        let (pipeline, _) = self.sabotaged(Hook::Dropped, &refusing);
        self.push(&pipeline, 3);
        expect(&settled(&pipeline), 0, &[(DropReason::Rejected, 3)]);
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
        let pipeline = Self::quick("factory").build(factory).unwrap();
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
        // The last handle goes: what is queued is still sent.
        let forgotten = self.start(Self::quick("forgotten"), &receiver);
        self.push(&forgotten, 1);
        let before = self.0.seen(&receiver);
        drop(forgotten);
        self.wait_for(&receiver, before + 1);
    }

    fn many_threads(&self) {
        const THREADS: usize = 4;
        const EACH: usize = 100;
        let receiver = Arc::new(self.0.receiver(Box::new(|number| match number % 3 {
            0 => Turn::Defers,
            1 => Turn::Accepts,
            _ => Turn::Refuses,
        })));
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
