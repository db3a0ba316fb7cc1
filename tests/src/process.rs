//! What this process costs, and processes where that can be told.

use std::{env, process::Command};

/// Runs the test of this name again in a separate process, where no other test allocates. `false` in that process.
///
/// # Panics
/// When the test fails there, or no test has this name.
#[expect(clippy::print_stdout, reason = "what the test printed there, it would have printed here")]
pub fn ran_alone(test: &str) -> bool {
    const ALONE: &str = "STEEPLE_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let this = env::current_exe().expect("a test has an executable");
    let output = Command::new(this)
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .expect("it runs again");
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "alone, {test} failed: {said}{trouble}");
    true
}

/// A parameter of a test: this variable, else the default that `cargo test` runs with. `.ci/soak` sets more.
///
/// # Panics
/// When it cannot be read.
pub fn parameter<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match env::var_os(variable) {
        None => default,
        Some(value) => {
            let value = value.to_str().and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("{variable} cannot be read"))
        }
    }
}

/// The memory that this process holds, in bytes. `None` without `/proc`.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The same once it is at rest: what runs in the background at the start, such as reading debug information, has ended.
pub fn settled_bytes() -> Option<u64> {
    /// At rest is what does not grow by this much in this many looks.
    const NOISE: u64 = 256 * 1024;
    const LOOKS: u32 = 10;
    let (mut bytes, mut calm) = (resident_bytes()?, 0);
    for _ in 0..400 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = resident_bytes()?;
        calm = if now > bytes + NOISE { 0 } else { calm + 1 };
        bytes = bytes.max(now);
        if calm == LOOKS {
            break;
        }
    }
    Some(bytes)
}

/// A figure of `/proc/self/status`, in bytes, by its name and colon. `None` without `/proc`.
pub fn status_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_holds_some_memory_and_more_when_it_took_more() {
        let before = super::resident_bytes().unwrap();
        let taken = vec![1_u8; 64 << 20];
        let after = super::resident_bytes().unwrap();
        assert!(after > before + (32 << 20), "{before} before, {after} after {} bytes", taken.len());
    }
}
