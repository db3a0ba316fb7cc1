//! The way of a line to where it is kept: a bounded queue, a thread per output, files that roll.

mod access;
mod closed;
mod drop_reason;
mod file;
mod lock;
mod queue;
mod rotation;
mod worker;

pub(crate) use self::{
    access::FileAccess,
    file::{RollingFile, STEMS},
    queue::{Part, Queue, Stamp},
    worker::{Destination, Progress, Report, Stream, Worker},
};
pub use self::{drop_reason::DropReason, rotation::Rotation};
