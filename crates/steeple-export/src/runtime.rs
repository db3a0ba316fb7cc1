//! The export thread, which runs every pipeline, and the helper thread, which does what takes longer than a millisecond.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use steeple_core::clock;
use tokio::{
    runtime::{self, Handle, Runtime},
    sync::oneshot,
};
use tracing::{dispatcher::DefaultGuard, subscriber::NoSubscriber};

/// Threads for what the runtime cannot do without blocking, such as looking up names.
const MAX_BLOCKING: usize = 16;

/// How often the export thread's delay is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static IS_EXPORT: Cell<bool> = const { Cell::new(false) };
    static QUIET: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// A panic was caught. Its message went to the panic hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Whether this thread sends, or works for one that does. A panic hook that makes an event of each panic must leave out those of
/// such threads: they would have to send it.
pub fn on_export_thread() -> bool {
    IS_EXPORT.try_with(Cell::get).unwrap_or(false)
}

/// The longest time since the last call for which the export thread was late: how long something blocked it. Zero where it was
/// not started.
pub fn loop_delay() -> Duration {
    Duration::from_micros(LOOP_DELAY_MICROS.swap(0, Ordering::Relaxed))
}

static LOOP_DELAY_MICROS: AtomicU64 = AtomicU64::new(0);

async fn measure() {
    loop {
        let asked = clock::now();
        tokio::time::sleep(MEASURE_EVERY).await;
        let late = clock::now().saturating_duration_since(asked).saturating_sub(MEASURE_EVERY);
        LOOP_DELAY_MICROS.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What a thread of ours logs and traces must not become something to export.
fn enter_export_thread() {
    let _ending = IS_EXPORT.try_with(|flag| flag.set(true));
    let guard = tracing::subscriber::set_default(NoSubscriber::new());
    let _ending = QUIET.try_with(|quiet| quiet.replace(Some(guard)));
}

/// Says something in spite of that: for what people must know, once per change.
pub(crate) fn aloud(say: impl FnOnce()) {
    let quiet = QUIET.try_with(|quiet| quiet.borrow_mut().take()).ok().flatten();
    let was_quiet = quiet.is_some();
    drop(quiet);
    let _said = catch(say);
    if was_quiet {
        let guard = tracing::subscriber::set_default(NoSubscriber::new());
        let _ending = QUIET.try_with(|quiet| quiet.replace(Some(guard)));
    }
}

/// Runs `f` and catches its panic.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        // A payload's destructor is user code as well.
        let _again = catch_unwind(AssertUnwindSafe(move || drop(payload)));
        Panicked
    })
}

/// Polls `future` and catches its panic.
pub(crate) async fn catch_async<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Runs a thread's work as one of ours: what it logs about itself becomes nothing to export.
#[cfg(feature = "spool")]
pub(crate) fn as_export_thread<T>(run: impl FnOnce() -> T) -> T {
    enter_export_thread();
    run()
}

/// Work that goes on on the export thread until it ends or this is dropped.
#[derive(Debug)]
pub struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a future on the export thread. Nothing in it may block or take more than a millisecond at once.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<Task> {
    Ok(Task(shared()?.spawn(future)))
}

/// Waits, in any runtime or none: the export thread's has the clock.
pub async fn sleep(duration: Duration) {
    let sleep = {
        let Ok(runtime) = shared() else { return std::future::pending().await };
        let _entered = runtime.enter();
        tokio::time::sleep(duration)
    };
    sleep.await;
}

fn build() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING)
        .thread_name("steeple-export-io")
        .on_thread_start(enter_export_thread)
        .build()
}

static SHARED: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime of the export thread, which is started by the first that asks.
pub(crate) fn shared() -> io::Result<Handle> {
    let mut shared = lock(&SHARED);
    if let Some(handle) = &*shared {
        return Ok(handle.clone());
    }
    let handle = start("steeple-export", |runtime| {
        runtime.spawn(measure());
        runtime.block_on(std::future::pending::<()>());
    })?;
    *shared = Some(handle.clone());
    Ok(handle)
}

/// A thread with its own runtime, for one pipeline.
pub(crate) fn own<F>(name: &str, tasks: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    start(&format!("steeple-export-{name}"), move |runtime| runtime.block_on(tasks)).map(drop)
}

fn start(name: &str, run: impl FnOnce(&Runtime) + Send + 'static) -> io::Result<Handle> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // Longer names are cut by the system.
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        enter_export_thread();
        match build() {
            Ok(runtime) => {
                let _gone = sender.send(Ok(runtime.handle().clone()));
                let _ended = catch(|| run(&runtime));
                runtime.shutdown_background();
            }
            Err(error) => {
                let _gone = sender.send(Err(error));
            }
        }
    })?;
    receiver.recv().map_err(io::Error::other)?
}

type Job = Box<dyn FnOnce() + Send>;

/// What waits for the helper thread: at most one job of each lane.
struct Helper {
    jobs: Mutex<Jobs>,
    work: Condvar,
}

struct Jobs {
    waiting: VecDeque<Job>,
    is_running: bool,
}

static HELPER: Helper =
    Helper { jobs: Mutex::new(Jobs { waiting: VecDeque::new(), is_running: false }), work: Condvar::new() };

/// Runs CPU-bound work on the helper thread, and waits for it without blocking this one. Where that thread cannot be started, the
/// work runs here.
///
/// # Errors
/// [`Panicked`] when `f` panics.
pub async fn offload<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _gone = sender.send(catch(f));
    });
    submit(job);
    receiver.await.unwrap_or(Err(Panicked))
}

/// Runs CPU-bound work on the helper thread, and does not wait for it. For a start-up's work; panics are caught.
pub fn run_on_helper(f: impl FnOnce() + Send + 'static) {
    submit(Box::new(f));
}

fn submit(job: Job) {
    let mut jobs = lock(&HELPER.jobs);
    if !jobs.is_running {
        if thread::Builder::new().name("steeple-export-cpu".to_owned()).spawn(help).is_err() {
            drop(jobs);
            let _caught = catch(job);
            return;
        }
        jobs.is_running = true;
    }
    jobs.waiting.push_back(job);
    drop(jobs);
    HELPER.work.notify_one();
}

fn help() {
    enter_export_thread();
    let mut jobs = lock(&HELPER.jobs);
    loop {
        match jobs.waiting.pop_front() {
            Some(job) => {
                drop(jobs);
                let _caught_inside = catch(job);
                jobs = lock(&HELPER.jobs);
            }
            None => jobs = HELPER.work.wait(jobs).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
