use crate::{
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// This process as Linux reports it, with the names that every Prometheus client has. Nothing on other systems.
pub(crate) struct Process;

/// Ticks in a second in `/proc`: fixed at 100 for user space on every architecture that Rust's standard library runs on.
const TICKS: f64 = 100.0;

fn families() -> [Meta; 8] {
    [
        Meta::new(Kind::Counter, "process_cpu_seconds_total", "User and system CPU time spent.", &[]),
        Meta::new(Kind::Gauge, "process_open_fds", "Open file descriptors.", &[]),
        Meta::new(Kind::Gauge, "process_max_fds", "Most file descriptors that may be open.", &[]),
        Meta::new(Kind::Gauge, "process_virtual_memory_bytes", "Virtual memory.", &[]),
        Meta::new(
            Kind::Gauge,
            "process_virtual_memory_max_bytes",
            "Most virtual memory there may be; -1 if unlimited.",
            &[],
        ),
        Meta::new(Kind::Gauge, "process_resident_memory_bytes", "Resident memory.", &[]),
        Meta::new(Kind::Gauge, "process_start_time_seconds", "When the process started, since the Unix epoch.", &[]),
        Meta::new(Kind::Gauge, "process_threads", "Threads.", &[]),
    ]
}

/// A reading; what could not be read is absent.
#[derive(Debug, Default)]
struct Reading {
    cpu_seconds: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    virtual_bytes: Option<f64>,
    max_virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    start_seconds: Option<f64>,
    threads: Option<f64>,
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

impl Reading {
    fn now() -> Self {
        let mut reading = Self::default();
        if let Some(stat) = read("/proc/self/stat") {
            // The second field is the program's name, which may hold anything; the rest comes after its bracket.
            let fields: Vec<f64> = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect())
                .unwrap_or_default();
            // Numbered as in proc(5), where the third field is the state.
            let field = |number: usize| fields.get(number.saturating_sub(4)).copied();
            reading.cpu_seconds = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
            reading.threads = field(20);
            reading.virtual_bytes = field(23);
            let booted = read("/proc/stat").and_then(|stat| {
                stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|at| at.trim().parse::<f64>().ok())
            });
            reading.start_seconds = field(22).zip(booted).map(|(ticks, booted)| booted + ticks / TICKS);
        }
        if let Some(status) = read("/proc/self/status") {
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .and_then(|line| line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()));
            reading.resident_bytes = kib.map(|kib| kib * 1024.0);
        }
        if let Some(limits) = read("/proc/self/limits") {
            let soft = |name: &str| {
                let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
                let soft = line.split_whitespace().next()?;
                if soft == "unlimited" { Some(-1.0) } else { soft.parse().ok() }
            };
            reading.max_fds = soft("Max open files");
            reading.max_virtual_bytes = soft("Max address space");
        }
        // One of them is the directory that is being read.
        reading.open_fds = std::fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|entries| u32::try_from(entries.count().saturating_sub(1)).ok())
            .map(f64::from);
        reading
    }
}

impl Source for Process {
    fn families(&self) -> Vec<Meta> {
        families().into()
    }

    fn write(&self, to: &mut dyn Encoder) {
        if !cfg!(all(target_os = "linux", not(steeple_os_other))) {
            return;
        }
        let reading = Reading::now();
        let values = [
            reading.cpu_seconds,
            reading.open_fds,
            reading.max_fds,
            reading.virtual_bytes,
            reading.max_virtual_bytes,
            reading.resident_bytes,
            reading.start_seconds,
            reading.threads,
        ];
        for (meta, value) in families().iter().zip(values) {
            if let Some(value) = value {
                to.begin(meta);
                to.value(&Labels::of_process([]), Number::Float(value));
            }
        }
    }
}

#[cfg(all(test, target_os = "linux", not(steeple_os_other)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_this_process_is_plausible() {
        let before = Reading::now();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let mut x = 1_u64;
        for n in 0..30_000_000_u64 {
            x = std::hint::black_box(x.wrapping_mul(n | 1));
        }
        let after = Reading::now();
        assert!(after.cpu_seconds.unwrap() > before.cpu_seconds.unwrap());
        assert!(after.open_fds.unwrap() >= 3.0 && after.max_fds.unwrap() >= after.open_fds.unwrap());
        assert!((1e6..1e11).contains(&after.resident_bytes.unwrap()));
        assert!(after.virtual_bytes.unwrap() > after.resident_bytes.unwrap());
        assert!(after.threads.unwrap() >= 1.0);
        let now = steeple_core::clock::unix_now().as_secs_f64();
        assert!((0.0..3600.0).contains(&(now - after.start_seconds.unwrap())), "{after:?} at {now}");
        drop(file);
    }
}
