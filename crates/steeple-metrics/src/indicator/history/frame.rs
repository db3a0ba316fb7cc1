use std::{collections::VecDeque, time::Duration};

/// How long the frames of a [`History`](super::History) are, and how many it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// 300 frames of a second: filled while there is a [`Viewer`](super::Viewer).
    Second,
    /// 360 frames of 10 seconds: an hour.
    TenSeconds,
    /// 1,440 frames of a minute: a day.
    Minute,
}

impl Tier {
    pub(super) const ALL: [Self; 3] = [Self::Second, Self::TenSeconds, Self::Minute];

    /// How long a frame is.
    pub const fn length(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::TenSeconds => Duration::from_secs(10),
            Self::Minute => Duration::from_secs(60),
        }
    }

    /// How many frames are kept.
    pub const fn capacity(self) -> usize {
        match self {
            Self::Second => 300,
            Self::TenSeconds => 360,
            Self::Minute => 1440,
        }
    }
}

/// What a number of a frame is until it is known.
trait Unknown {
    const UNKNOWN: Self;
}

impl Unknown for f32 {
    const UNKNOWN: Self = Self::NAN;
}

impl Unknown for u32 {
    const UNKNOWN: Self = 0;
}

impl Unknown for u64 {
    const UNKNOWN: Self = 0;
}

macro_rules! frame {
    ($($(#[$doc:meta])* $name:ident: $type:ident),+ $(,)?) => {
        /// The activity of a service in a period. Durations are in seconds; unknown values are NaN.
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        pub struct Frame {
            /// Its number: one more than that of the frame before, in its tier.
            pub seq: u64,
            /// When it ended, on the wall clock, since the Unix epoch.
            pub unix: Duration,
            $($(#[$doc])* pub $name: $type,)+
        }

        impl Frame {
            /// The size of a frame as it is saved.
            pub(super) const SAVED: usize = size_of::<u64>() $(+ size_of::<$type>())+;

            pub(super) fn empty() -> Self {
                Self { seq: 0, unix: Duration::ZERO, $($name: $type::default(),)+ }
            }

            /// A frame that ended at this time since the Unix epoch, of which nothing else is known yet: counts are 0, other
            /// numbers NaN. For [`History::prepend`](super::History::prepend).
            #[must_use]
            pub fn ended(unix: Duration, seconds: f32) -> Self {
                Self { unix, seconds, ..Self { $($name: Unknown::UNKNOWN,)+ ..Self::empty() } }
            }

            pub(super) fn save(&self, out: &mut Vec<u8>) {
                let millis = u64::try_from(self.unix.as_millis()).unwrap_or(u64::MAX);
                out.extend_from_slice(&millis.to_le_bytes());
                $(out.extend_from_slice(&self.$name.to_le_bytes());)+
            }

            /// `None`: these are fewer bytes than a frame has.
            pub(super) fn load(mut bytes: &[u8]) -> Option<Self> {
                let (millis, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                let mut frame = Self { unix: Duration::from_millis(u64::from_le_bytes(*millis)), ..Self::empty() };
                $(
                    let (number, rest) = bytes.split_first_chunk()?;
                    bytes = rest;
                    frame.$name = $type::from_le_bytes(*number);
                )+
                bytes.is_empty().then_some(frame)
            }
        }
    };
}

frame! {
    /// How long it was.
    seconds: f32,
    /// Requests that ended.
    requests: u32,
    /// Those with 1xx or 2xx.
    successes: u32,
    /// Those with 3xx.
    redirects: u32,
    /// Those with 4xx.
    client_errors: u32,
    /// Those with 5xx, or that failed before there was a status.
    server_errors: u32,
    /// Those that failed for a reason on the server's side.
    errors: u32,
    /// Those that were cancelled, before or in their response body.
    cancelled: u32,
    /// Those that panicked.
    panicked: u32,
    /// Those whose service or body failed.
    broken: u32,
    /// Requests that had begun and not ended, at its end.
    in_flight: u32,
    /// Distinct users of the last minutes, at its end.
    active_users: f32,
    /// The mean duration.
    mean: f32,
    /// The median duration.
    p50: f32,
    /// The duration that 95 % did not exceed.
    p95: f32,
    /// The duration that 99 % did not exceed.
    p99: f32,
    /// The part of the processors that was used, of those that may be used.
    cpu: f32,
    /// The part of the scheduling periods in which the processor limit was used up.
    throttled: f32,
    /// The part of the memory that was used, of that which may be used, at its end.
    memory: f32,
    /// Memory in use, in bytes, at its end.
    memory_bytes: u64,
    /// The part of the disk that was used, at its end.
    disk: f32,
    /// Database connections in use, at its end.
    connections: u32,
    /// The most database connections that may be open.
    connections_max: u32,
    /// The part of the lookups in caches that found something.
    cache_hit_ratio: f32,
    /// Items that sinks lost. Counted once a minute.
    dropped: u32,
    /// Bytes of response bodies.
    response_bytes: u64,
}

const _: () = assert!(size_of::<Frame>() <= 144, "2,100 of them are kept");

/// The frames of one tier, oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    frames: VecDeque<Frame>,
    capacity: usize,
    next: u64,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { frames: VecDeque::with_capacity(capacity), capacity, next: 1 }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        if self.frames.len() >= self.capacity {
            self.frames.pop_front();
        }
        self.frames.push_back(Frame { seq: self.next, ..frame });
        self.next = self.next.wrapping_add(1);
    }

    pub(super) fn since(&self, seq: u64) -> Vec<Frame> {
        self.frames.iter().filter(|frame| frame.seq > seq).copied().collect()
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.frames.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_le_bytes());
        for frame in &self.frames {
            frame.save(out);
        }
    }

    /// Puts frames that were saved before those that are there; what finds no room is the oldest of them. Returns what
    /// comes behind them. `None`: these are not frames.
    pub(super) fn load<'a>(&self, bytes: &'a [u8]) -> Option<(Vec<Frame>, &'a [u8])> {
        let (count, bytes) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        if count > self.capacity {
            return None;
        }
        let (frames, rest) = bytes.split_at_checked(count.checked_mul(Frame::SAVED)?)?;
        let frames: Option<Vec<Frame>> = frames.chunks_exact(Frame::SAVED).map(Frame::load).collect();
        Some((frames?, rest))
    }

    /// Puts older frames in front, oldest first, and numbers all of them anew. Returns whether there were any.
    pub(super) fn prepend(&mut self, older: impl IntoIterator<Item = Frame>) -> bool {
        let before = self.frames.front().map_or(Duration::MAX, |first| first.unix);
        let mut older = older.into_iter().filter(|frame| frame.unix < before).peekable();
        if older.peek().is_none() {
            return false;
        }
        let own = std::mem::take(&mut self.frames);
        self.next = 1;
        for frame in older.chain(own) {
            self.push(frame);
        }
        true
    }
}
