use std::fmt;

/// Why a log line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The output's queue was full: lines came faster than they could be written.
    QueueFull,
    /// The output refused the line, or failed for good.
    WriteFailed,
    /// The line came after the log was shut down.
    Shutdown,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::WriteFailed, Self::Shutdown];

    /// The reason as a label value, such as `queue_full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WriteFailed => "write_failed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
