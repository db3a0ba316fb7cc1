//! CPU and memory are parts of the container's limits, of both versions of control groups, and not of the machine.

use std::{fs, path::Path, time::Duration};

use steeple_alerts::{Alerts, Rules};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions, ResourceOptions},
};

use crate::{START, pass};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine of 4 processors and 16 GiB; the container has half of one and 512 MiB.
fn machine(version: u8) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| write(root.path(), path, text);
    put("proc/self/status", "Name:\tshop\nVmRSS:\t   65536 kB\nCpus_allowed_list:\t0-3\n");
    put("proc/self/stat", "1 (a shop) S 1 1 1 0 -1 0 0 0 0 0 2000 500 0 0 20 0 1 0 1 1 1\n");
    put("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
    put("proc/stat", "cpu  1 1\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\nintr 1\n");
    if version == 2 {
        put("proc/self/cgroup", "0::/kubepods/shop\n");
        for group in ["", "kubepods/", "kubepods/shop/"] {
            put(&format!("sys/fs/cgroup/{group}cgroup.controllers"), "cpu memory\n");
        }
        // The pod has the limits, the container inside of it none.
        put("sys/fs/cgroup/kubepods/cpu.max", "50000 100000\n");
        put("sys/fs/cgroup/kubepods/memory.max", "536870912\n");
        put("sys/fs/cgroup/kubepods/shop/cpu.max", "max 100000\n");
        put("sys/fs/cgroup/kubepods/shop/memory.max", "max\n");
    } else {
        put("proc/self/cgroup", "4:memory:/\n3:cpu,cpuacct:/\n");
        put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
        put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        put("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
    }
    root
}

/// The container has used so many seconds of processor time, and uses so much memory.
fn use_up(root: &Path, version: u8, seconds: f64, mib: u64) {
    let (micros, bytes) = ((seconds * 1e6).round(), mib << 20);
    if version == 2 {
        write(root, "sys/fs/cgroup/kubepods/shop/cpu.stat", &format!("usage_usec {micros}\n"));
        write(root, "sys/fs/cgroup/kubepods/shop/memory.current", &format!("{bytes}\n"));
        write(root, "sys/fs/cgroup/kubepods/shop/memory.stat", "anon 1\ninactive_file 0\n");
    } else {
        write(root, "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", &format!("{}\n", micros * 1e3));
        write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", &format!("{bytes}\n"));
        write(root, "sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\n");
    }
}

#[test]
fn half_a_processor_and_512_mib_are_full_on_a_machine_that_is_idle() {
    for version in [1, 2] {
        let root = machine(version);
        use_up(root.path(), version, 0.0, 100);
        let metrics = Metrics::builder().resources(ResourceOptions::new().root(root.path())).build().unwrap();
        let clock = Clock::manual(START);
        let _history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
        let alerts = Alerts::builder().rules(Rules::mission().guarded().of_instance()).build(&metrics).unwrap();
        let mut used = 0.0;
        let mut live = |cores: f64, mib: u64, seconds: u64| {
            for _ in 0..seconds / 10 {
                used += cores * 10.0;
                use_up(root.path(), version, used, mib);
                pass(&metrics, &clock, Duration::from_secs(10));
            }
            alerts.firing().into_iter().map(|rule| (rule.name, rule.value.unwrap())).collect::<Vec<_>>()
        };
        // A fifth of a processor and 100 MiB: far from both limits.
        assert_eq!(live(0.2, 100, 600), []);
        // 0.45 of 0.5 processors, 480 of 512 MiB: 11 % and 3 % of the machine.
        let firing = live(0.45, 480, 600);
        let names: Vec<_> = firing.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["high_cpu_usage", "high_memory_usage"], "version {version}");
        assert!((firing[0].1 - 0.9).abs() < 0.01 && (firing[1].1 - 480.0 / 512.0).abs() < 0.01, "{firing:?}");
        assert_eq!(live(0.2, 100, 600), [], "version {version}");
    }
}
