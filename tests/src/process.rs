//! What this process costs.

/// The memory that this process holds, in bytes. `None` where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
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
