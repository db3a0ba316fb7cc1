//! A service in a separate process, as a program would run it, which ends by a real signal.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::settle::wait_until;

/// Where the service listens, in its directory.
const ADDRESS: &str = "address";

/// A service in a separate process. Its files are in its directory, which is also its `LOG_DIR`.
#[derive(Debug)]
pub struct Service {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Service {
    /// Starts the ignored test of this name, which serves and [announces](announce) where, with these variables.
    ///
    /// # Panics
    /// When it ends before that, or never does.
    pub async fn start(test: &str, variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(env::current_exe().expect("a test has an executable"));
        command.args([test, "--exact", "--ignored"]).stdout(Stdio::null());
        command.env("LOG_DIR", directory.path()).envs(variables.iter().copied());
        let mut child = command.spawn().expect("it runs again");
        let mut address = None;
        let found = wait_until(|| {
            assert!(matches!(child.try_wait(), Ok(None)), "it ended");
            let written = fs::read_to_string(directory.path().join(ADDRESS)).ok();
            address = written.and_then(|text| text.parse().ok());
            address.is_some()
        });
        assert!(found.await, "it writes where it listens");
        Self { child, directory, address: address.expect("it was found") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `-TERM`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success(), "{name}");
    }

    /// Waits for its end, which has to be a good one.
    ///
    /// # Panics
    /// When it is not.
    pub async fn ended(&mut self) {
        let mut status = None;
        let ended = wait_until(|| {
            status = self.child.try_wait().expect("its status can be read");
            status.is_some()
        });
        assert!(ended.await, "it ends");
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }

    /// A file that it has written.
    ///
    /// # Panics
    /// When no service has this name.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).expect("it has written the file")
    }

    /// The lines of its log.
    ///
    /// # Panics
    /// When one of them is not JSON.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.file("combined.log");
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Has ended in most tests, and then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The directory of the service that this process is.
///
/// # Panics
/// When [`Service::start`] has not started it.
pub fn directory() -> PathBuf {
    env::var_os("LOG_DIR").expect("`LOG_DIR` is set").into()
}

/// Writes where this process listens, at once and whole.
///
/// # Panics
/// When that cannot be written.
pub fn announce(address: SocketAddr) {
    let whole: &Path = &directory().join("address.part");
    fs::write(whole, address.to_string()).expect("the directory can be written");
    fs::rename(whole, directory().join(ADDRESS)).expect("the directory can be written");
}
