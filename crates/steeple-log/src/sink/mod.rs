//! The way of a line to where it is kept: a bounded queue, a thread per output, files that roll.

mod file;
mod queue;
mod worker;

pub use self::file::Rotation;
pub(crate) use self::{
    file::RollingFile,
    queue::Queue,
    worker::{Destination, Report, Stream, Worker},
};
