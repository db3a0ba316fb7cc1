use std::time::Duration;

use crate::TimingOptions;

/// Who may read log files, whether links are followed, and how long other processes are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileAccess {
    pub(crate) file_mode: u32,
    pub(crate) directory_mode: u32,
    pub(crate) follow_links: bool,
    pub(crate) lock_timeout: Duration,
    pub(crate) lock_pause: Duration,
}

impl Default for FileAccess {
    fn default() -> Self {
        let TimingOptions { lock_timeout, lock_pause, .. } = TimingOptions::default();
        Self { file_mode: 0o640, directory_mode: 0o750, follow_links: false, lock_timeout, lock_pause }
    }
}
