//! Processor, memory and disk against their limits: the container's, or else the machine's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// Where resources are read. Default: the machine's own `/proc` and `/sys`, and the disk of the working directory.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are given to a builder"]
pub struct ResourceOptions {
    root: PathBuf,
    disk: PathBuf,
    cpu_limit: Option<f64>,
    memory_limit: Option<u64>,
}

impl Default for ResourceOptions {
    fn default() -> Self {
        Self { root: "/".into(), disk: ".".into(), cpu_limit: None, memory_limit: None }
    }
}

impl ResourceOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The directory that has `proc` and `sys` in it. Default: `/`.
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// A path on the disk to be measured. Default: the working directory.
    pub fn disk(mut self, path: impl Into<PathBuf>) -> Self {
        self.disk = path.into();
        self
    }

    /// How many processors this process may use at once, where it cannot know: one of several services on a machine that has no
    /// limits. What the process itself uses is compared with it. Default: the container's limit, or the machine's. A number that
    /// is not above 0 is ignored.
    pub fn cpu_limit(mut self, cores: f64) -> Self {
        self.cpu_limit = (cores > 0.0 && cores.is_finite()).then_some(cores);
        self
    }

    /// How much memory this process may use, in bytes; otherwise as [`cpu_limit`](Self::cpu_limit).
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = (bytes > 0).then_some(bytes);
        self
    }
}

/// What a service uses of its processors, memory and disk, and how much of them it may use. Linux only; elsewhere, all of
/// it is `None`.
///
/// # Source
/// The kernel's documentation of cgroup v2 (`cpu.max`, `cpu.stat`, `memory.max`, `memory.high`, `memory.current`,
/// `memory.stat`) and v1 (`cpu.cfs_quota_us`, `cpuacct.usage`, `memory.limit_in_bytes`, `memory.usage_in_bytes`). The
/// smallest limit between the process's own group and the root of the hierarchy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resources {
    /// Processor time. `None` where it cannot be read.
    pub cpu: Option<Cpu>,
    /// Memory. `None` where it cannot be read.
    pub memory: Option<Memory>,
    /// The disk. `None` where it cannot be read.
    pub disk: Option<Disk>,
    /// Whether a limit holds, of processor time or of memory: the container's, or one that was set. If not, the limits are the machine's.
    pub is_limited: bool,
}

/// Processor time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cpu {
    /// Seconds used since the start, by the container, or by the process outside of one.
    pub used_seconds: f64,
    /// How many processors may be used at once: 0.5 for half of one.
    pub limit_cores: f64,
    /// Periods in which the container ran, since its start; 0 without a limit.
    pub periods: u64,
    /// Periods in which the container used up its limit and had to wait.
    pub throttled_periods: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes in use that cannot be freed at once: without the inactive file cache. By the container; by the
    /// process outside of one.
    pub used_bytes: u64,
    /// How much may be used.
    pub limit_bytes: u64,
}

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes in use, and bytes that this process may still write.
    pub size_bytes: u64,
}

impl Memory {
    /// The part of the limit that is in use, from 0 to 1.
    pub fn used_ratio(&self) -> f64 {
        ratio(self.used_bytes, self.limit_bytes)
    }
}

impl Disk {
    /// The part of the disk that is in use, from 0 to 1.
    pub fn used_ratio(&self) -> f64 {
        ratio(self.used_bytes, self.size_bytes)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { crate::layout::to_f64(part) / crate::layout::to_f64(whole) }
}

impl Resources {
    /// Reads them now. Reads about twelve small files.
    pub fn read(options: &ResourceOptions) -> Self {
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let root = &*options.root;
        let groups = Groups::of_process(root);
        let cpu = match options.cpu_limit {
            Some(limit_cores) => process_seconds(root)
                .map(|used_seconds| (Cpu { used_seconds, limit_cores, periods: 0, throttled_periods: 0 }, true)),
            None => groups.cpu(root),
        };
        let memory = match options.memory_limit {
            Some(limit_bytes) => resident_bytes(root).map(|used_bytes| (Memory { used_bytes, limit_bytes }, true)),
            None => groups.memory(root),
        };
        Self {
            is_limited: cpu.is_some_and(|(_, limited)| limited) || memory.is_some_and(|(_, limited)| limited),
            cpu: cpu.map(|(cpu, _)| cpu),
            memory: memory.map(|(memory, _)| memory),
            disk: crate::os::disk(&options.disk).map(|(used_bytes, size_bytes)| Disk { used_bytes, size_bytes }),
        }
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The number behind this word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The control groups that the process is in.
struct Groups {
    /// Version 2: the directory of the process's group, and that of the hierarchy.
    unified: Option<(PathBuf, PathBuf)>,
    /// Version 1, one for each controller.
    cpu: Option<(PathBuf, PathBuf)>,
    cpuacct: Option<(PathBuf, PathBuf)>,
    memory: Option<(PathBuf, PathBuf)>,
}

impl Groups {
    fn of_process(root: &Path) -> Self {
        let lines = read(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = root.join("sys/fs/cgroup");
        let path_of = |wanted: &str| {
            lines.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                controllers.split(',').any(|controller| controller == wanted).then_some(path)
            })
        };
        // Inside of a container, the path is often that of the outside, and the group is mounted at the top.
        let group = |top: PathBuf, path: &str, file: &str| {
            let own = top.join(path.trim_start_matches('/'));
            let own = if own.join(file).exists() { own } else { top.clone() };
            own.join(file).exists().then_some((own, top))
        };
        let old = |controller: &str, file: &str| {
            let path = path_of(controller)?;
            // Controllers that share a hierarchy are mounted under both names, with a link from each.
            let names = [controller, "cpu,cpuacct", "cpuacct,cpu"];
            names.iter().find_map(|name| group(mounts.join(name), path, file))
        };
        let unified = path_of("").and_then(|path| {
            let tops = [mounts.clone(), mounts.join("unified")];
            tops.into_iter().find(|top| top.join("cgroup.controllers").exists()).map(|top| {
                let own = top.join(path.trim_start_matches('/'));
                let own = if own.join("cgroup.controllers").exists() { own } else { top.clone() };
                (own, top)
            })
        });
        Self {
            unified,
            cpu: old("cpu", "cpu.cfs_quota_us"),
            cpuacct: old("cpuacct", "cpuacct.usage"),
            memory: old("memory", "memory.usage_in_bytes"),
        }
    }

    /// The processor, and whether a limit of the container's holds.
    fn cpu(&self, root: &Path) -> Option<(Cpu, bool)> {
        let mut cpu = Cpu { used_seconds: 0.0, limit_cores: cores(root)?, periods: 0, throttled_periods: 0 };
        let mut limited = false;
        let mut limit = |quota: Option<(f64, f64)>| {
            if let Some((quota, period)) = quota
                && quota > 0.0
                && period > 0.0
                && quota / period < cpu.limit_cores
            {
                cpu.limit_cores = quota / period;
                limited = true;
            }
        };
        let (mut used, mut stat) = (None, None);
        if let Some((own, top)) = &self.unified {
            for group in up(own, top) {
                limit(read(group.join("cpu.max")).and_then(|text| {
                    let (quota, period) = text.trim().split_once(' ')?;
                    Some((quota.parse().ok()?, period.parse().ok()?))
                }));
            }
            stat = read(own.join("cpu.stat"));
            used = stat.as_deref().and_then(|stat| field(stat, "usage_usec"));
        }
        if used.is_none()
            && let Some((own, top)) = &self.cpu
        {
            for group in up(own, top) {
                let read = |file: &str| read(group.join(file))?.trim().parse::<f64>().ok();
                limit(read("cpu.cfs_quota_us").zip(read("cpu.cfs_period_us")));
            }
            stat = read(own.join("cpu.stat"));
        }
        if used.is_none()
            && let Some((own, _)) = &self.cpuacct
        {
            used = number(own.join("cpuacct.usage")).map(|nanos| nanos / 1000);
        }
        // At the root of the hierarchy, the group is the whole machine.
        let is_own = |groups: &Option<(PathBuf, PathBuf)>| groups.as_ref().is_some_and(|(own, top)| own != top);
        let contained = limited || is_own(&self.unified) || is_own(&self.cpuacct);
        cpu.used_seconds = match used.filter(|_| contained) {
            Some(micros) => crate::layout::to_f64(micros) / 1e6,
            None => process_seconds(root)?,
        };
        if let Some(stat) = stat.filter(|_| limited) {
            cpu.periods = field(&stat, "nr_periods").unwrap_or(0);
            cpu.throttled_periods = field(&stat, "nr_throttled").unwrap_or(0);
        }
        Some((cpu, limited))
    }

    /// The memory, and whether a limit of the container's holds.
    fn memory(&self, root: &Path) -> Option<(Memory, bool)> {
        let machine = read(root.join("proc/meminfo")).and_then(|text| kib(&text, "MemTotal:"))?;
        let (mut limit_bytes, mut limited) = (machine, false);
        let mut limit = |bytes: Option<u64>| {
            if let Some(bytes) = bytes.filter(|bytes| *bytes > 0 && *bytes < limit_bytes) {
                limit_bytes = bytes;
                limited = true;
            }
        };
        let mut used = None;
        if let Some((own, top)) = &self.unified {
            for group in up(own, top) {
                limit(number(group.join("memory.max")));
                limit(number(group.join("memory.high")));
            }
            used = number(own.join("memory.current")).map(|current| {
                let stat = read(own.join("memory.stat")).unwrap_or_default();
                current.saturating_sub(field(&stat, "inactive_file").unwrap_or(0))
            });
        }
        let mut is_own = used.is_some() && self.unified.as_ref().is_some_and(|(own, top)| own != top);
        if used.is_none()
            && let Some((own, top)) = &self.memory
        {
            for group in up(own, top) {
                limit(number(group.join("memory.limit_in_bytes")));
            }
            let stat = read(own.join("memory.stat")).unwrap_or_default();
            // The smallest on the way up, as the kernel has worked it out already.
            limit(field(&stat, "hierarchical_memory_limit"));
            used = number(own.join("memory.usage_in_bytes"))
                .map(|usage| usage.saturating_sub(field(&stat, "total_inactive_file").unwrap_or(0)));
            is_own = own != top;
        }
        let used_bytes = match used.filter(|_| limited || is_own) {
            Some(used) => used,
            None => resident_bytes(root)?,
        };
        Some((Memory { used_bytes, limit_bytes }, limited))
    }
}

/// A group and those that it is in, up to the top of the hierarchy.
fn up<'a>(own: &'a Path, top: &'a Path) -> impl Iterator<Item = &'a Path> {
    own.ancestors().take_while(move |group| group.starts_with(top))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the process has in memory.
fn resident_bytes(root: &Path) -> Option<u64> {
    kib(&read(root.join("proc/self/status"))?, "VmRSS:")
}

/// The processors of the machine that this process may run on.
fn cores(root: &Path) -> Option<f64> {
    let allowed = read(root.join("proc/self/status")).and_then(|text| {
        let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
        let counts = list.split(',').map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            to.trim().parse::<u32>().ok()?.checked_sub(from.trim().parse().ok()?)?.checked_add(1)
        });
        counts.sum::<Option<u32>>()
    });
    // The mask may name processors that the machine does not have.
    let present = read(root.join("proc/stat"))
        .map(|text| text.lines().filter(|line| is_processor(line)).count())
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| *count > 0);
    match (allowed, present) {
        (Some(allowed), Some(present)) => Some(f64::from(allowed.min(present))),
        (known, other) => known.or(other).map(f64::from),
    }
}

/// Whether a line of `/proc/stat` is about one processor: `cpu0 …`.
fn is_processor(line: &str) -> bool {
    line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Processor time of the process, in seconds.
fn process_seconds(root: &Path) -> Option<f64> {
    let stat = read(root.join("proc/self/stat"))?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Ticks of a hundredth of a second, for user space on every architecture that the standard library runs on.
    Some((user + system) / 100.0)
}

/// The families about resources.
pub(crate) struct ResourceFamilies(pub(crate) Arc<ResourceOptions>);

fn families() -> [Meta; 8] {
    let gauge = |name: &'static str, help: &'static str| Meta::new(Kind::Gauge, name, help, &[]);
    let counter = |name: &'static str, help: &'static str| Meta::new(Kind::Counter, name, help, &[]);
    [
        counter("container_cpu_seconds_total", "Processor time used by the container, or else by the process."),
        gauge(
            "container_cpu_limit_cores",
            "Processors that may be used at once: the container's limit, or the machine's.",
        ),
        counter("container_cpu_periods_total", "Scheduling periods of a container whose processor time is limited."),
        counter("container_cpu_throttled_periods_total", "Periods in which the container had used up its limit."),
        gauge(
            "container_memory_used_bytes",
            "Memory used by the container, or else by the process, without inactive file cache.",
        ),
        gauge("container_memory_limit_bytes", "Memory that may be used: the container's limit, or the machine's."),
        gauge("disk_used_bytes", "Space in use on the disk."),
        gauge("disk_size_bytes", "Space on the disk that is in use or may be used."),
    ]
}

impl Source for ResourceFamilies {
    fn families(&self) -> Vec<Meta> {
        families().into()
    }

    fn write(&self, to: &mut dyn Encoder) {
        let Resources { cpu, memory, disk, .. } = Resources::read(&self.0);
        let values = [
            cpu.map(|cpu| Number::Float(cpu.used_seconds)),
            cpu.map(|cpu| Number::Float(cpu.limit_cores)),
            cpu.map(|cpu| Number::Whole(cpu.periods)),
            cpu.map(|cpu| Number::Whole(cpu.throttled_periods)),
            memory.map(|memory| Number::Whole(memory.used_bytes)),
            memory.map(|memory| Number::Whole(memory.limit_bytes)),
            disk.map(|disk| Number::Whole(disk.used_bytes)),
            disk.map(|disk| Number::Whole(disk.size_bytes)),
        ];
        for (meta, value) in families().iter().zip(values) {
            if let Some(value) = value {
                to.begin(meta);
                to.value(&Labels::of_process([]), value);
            }
        }
    }
}
